-- What steps made. `key` names all that the result depends on; `parts` (JSON) is what the key was made of. A result that may
-- not be used again has a key that no later step asks for. `tree` is the value, or NULL when it is the object `output`.
CREATE TABLE step_results (
    key TEXT PRIMARY KEY,
    step TEXT NOT NULL,
    run TEXT NOT NULL,
    output TEXT NOT NULL,
    tree BYTEA,
    portable BIGINT NOT NULL,
    seal TEXT NOT NULL,
    said BYTEA NOT NULL,
    said_seal TEXT NOT NULL,
    parts BYTEA NOT NULL,
    made_at BIGINT NOT NULL
);
CREATE INDEX step_results_step ON step_results (step, made_at);
-- The journal: the calls of a run in the order of the pipeline. `result` is the key of the row in step_results, or "".
CREATE TABLE run_steps (
    run TEXT NOT NULL,
    position BIGINT NOT NULL,
    step TEXT NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    cached BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    output TEXT NOT NULL,
    result TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    PRIMARY KEY (run, position)
);
