-- Who is told of events, over HTTP. `face` is the protocol of the bodies (mlflow, or events: the ledger's own), `events` a JSON
-- list of its names; `secret` is sealed with keys/webhooks.key. What is deleted stays as a row without address and secret.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    face TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    status TEXT NOT NULL,
    secret BYTEA,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX webhooks_made ON webhooks (created_at, id);
-- How far the outbox has read the ledger; `generation` counts the changes of webhooks, `next_seq` numbers deliveries.
CREATE TABLE webhook_outbox (
    name TEXT PRIMARY KEY,
    next_idx BIGINT NOT NULL,
    next_seq BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
INSERT INTO webhook_outbox (name, next_idx, next_seq, generation)
    SELECT 'outbox', coalesce(max(idx) + 1, 0), 0, 0 FROM ledger_entries;
-- One row an event and webhook: waiting, delivered, failed (given up) or dropped. `status` and `error` are of the last attempt.
CREATE TABLE webhook_deliveries (
    seq BIGINT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    webhook TEXT NOT NULL,
    event BIGINT NOT NULL,
    kind TEXT NOT NULL,
    body BYTEA NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    status BIGINT NOT NULL,
    error TEXT NOT NULL
);
CREATE INDEX webhook_deliveries_of ON webhook_deliveries (webhook, seq);
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (webhook, seq) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_event ON webhook_deliveries (event);
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at);
CREATE TABLE webhook_attempts (
    delivery TEXT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    took_ms BIGINT NOT NULL,
    status BIGINT NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (delivery, number)
);
