-- The instants that a segment spans, so that a page of a history reads the segments it needs and no others. NULL where
-- a segment is older than these columns: such ones are read whatever is asked. They stand before `data`, which is long.
CREATE TABLE metric_segments_new (
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    first_step BIGINT NOT NULL,
    digest TEXT NOT NULL,
    last_step BIGINT NOT NULL,
    first_at BIGINT,
    last_at BIGINT,
    points BIGINT NOT NULL,
    low DOUBLE PRECISION,
    high DOUBLE PRECISION,
    data BYTEA NOT NULL,
    PRIMARY KEY (run, key, first_step, digest)
);
INSERT INTO metric_segments_new (run, key, first_step, digest, last_step, points, low, high, data)
    SELECT run, key, first_step, digest, last_step, points, low, high, data FROM metric_segments;
DROP TABLE metric_segments;
ALTER TABLE metric_segments_new RENAME TO metric_segments;
