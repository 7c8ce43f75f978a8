-- Which values the attributes of a trace's spans have, each once, for searches; written when the trace is over. A key that
-- has too many or too long values has one row with `listed` 0 and no value. A trace that has none of this is `indexed` 0.
CREATE TABLE trace_span_values (
    trace TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    listed BIGINT NOT NULL,
    PRIMARY KEY (trace, name, value)
);
ALTER TABLE traces ADD COLUMN indexed BIGINT NOT NULL DEFAULT 0;
