-- A durable, leased queue: a job whose worker is gone is taken by the next one.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    args TEXT NOT NULL,
    cause TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    worker TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    reason TEXT NOT NULL,
    queued_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX jobs_state ON jobs (state, queued_at);
-- How far each trigger has read the ledger.
CREATE TABLE trigger_cursors (
    name TEXT PRIMARY KEY,
    next_idx BIGINT NOT NULL
);
-- What `interlock apply` made the workspace.
CREATE TABLE applied (
    name TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);
