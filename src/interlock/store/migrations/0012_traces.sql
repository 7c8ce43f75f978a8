-- What applications did, span by span. Instants and durations are in microseconds; `duration` is NULL while it is not known.
-- `reported`: its client said all this; else its spans did. `ended`: it is over. Its spans are `spans`, of `span_bytes` unpacked.
CREATE TABLE traces (
    id TEXT PRIMARY KEY,
    experiment TEXT NOT NULL,
    name TEXT,
    state TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    duration BIGINT,
    client_request_id TEXT,
    request_preview TEXT,
    response_preview TEXT,
    reported BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    spans BIGINT NOT NULL,
    span_bytes BIGINT NOT NULL
);
CREATE INDEX traces_started ON traces (experiment, started_at, id);
CREATE INDEX traces_name ON traces (experiment, name);
CREATE TABLE trace_tags (
    trace TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (trace, name)
);
CREATE INDEX trace_tags_value ON trace_tags (name, value);
CREATE TABLE trace_metadata (
    trace TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (trace, name)
);
CREATE INDEX trace_metadata_value ON trace_metadata (name, value);
-- Spans rest packed: a few parts while they come, one when the trace is over.
CREATE TABLE trace_spans (
    trace TEXT NOT NULL,
    position BIGINT NOT NULL,
    spans BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    digest TEXT NOT NULL,
    data BYTEA NOT NULL,
    PRIMARY KEY (trace, position)
);
-- Which kinds of spans a trace has, each once, for searches.
CREATE TABLE trace_span_kinds (
    trace TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    PRIMARY KEY (trace, name, type, status)
);
-- `kind` is run (`name` is its id) or prompt (`name` is NAME/VERSION).
CREATE TABLE trace_links (
    trace TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (trace, kind, name)
);
CREATE INDEX trace_links_name ON trace_links (kind, name);
-- `kind` is feedback, expectation or issue; `record` is all of it in JSON; `text` and `number` are its value, for searches.
CREATE TABLE trace_assessments (
    trace TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    number DOUBLE PRECISION,
    valid BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (trace, id)
);
CREATE INDEX trace_assessments_name ON trace_assessments (kind, name);
