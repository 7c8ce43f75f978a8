-- Metric points rest in packed segments (interlock.store.segments); the columns beside `data` are copies of its header.
-- The primary key holds the digest, so that a segment that is sent twice is kept once. NULL in a value stands for NaN.
CREATE TABLE metric_segments (
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    first_step BIGINT NOT NULL,
    digest TEXT NOT NULL,
    last_step BIGINT NOT NULL,
    points BIGINT NOT NULL,
    low DOUBLE PRECISION,
    high DOUBLE PRECISION,
    data BYTEA NOT NULL,
    PRIMARY KEY (run, key, first_step, digest)
);
-- The latest value of each metric: what lists of runs show and what searches compare.
CREATE TABLE metric_latest (
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    step BIGINT NOT NULL,
    at BIGINT NOT NULL,
    value DOUBLE PRECISION,
    PRIMARY KEY (run, key)
);
CREATE INDEX metric_latest_value ON metric_latest (key, value);
