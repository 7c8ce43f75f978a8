-- A body is what came at once: one request, or one file. `caller_key` is the Idempotency-Key it came with, or what names
-- the file; `digest` is that of its labels, `file` the Parquet object with the further columns of a file, `answer` has a
-- letter for each row of a body that has a key: what a retry is answered.
CREATE TABLE label_bodies (
    id BIGINT PRIMARY KEY,
    deployment TEXT NOT NULL,
    caller_key TEXT NOT NULL,
    digest TEXT NOT NULL,
    file TEXT NOT NULL,
    rows BIGINT NOT NULL,
    kept BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    source TEXT NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX label_bodies_by_key ON label_bodies (deployment, caller_key);
-- `about` is `prediction:ID` or `subject:TEXT`, `since` and `until` (both included) are the instants of the cases meant;
-- `dated` says whether `observed_at` was given, `counts` is 1 for the newest label of the same thing.
CREATE TABLE labels (
    body BIGINT NOT NULL,
    position BIGINT NOT NULL,
    deployment TEXT NOT NULL,
    about TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    label BIGINT NOT NULL,
    observed_at BIGINT NOT NULL,
    dated BIGINT NOT NULL,
    label_id TEXT NOT NULL,
    counts BIGINT NOT NULL,
    PRIMARY KEY (body, position)
);
CREATE INDEX labels_by_thing ON labels (deployment, about);
CREATE INDEX labels_by_about ON labels (about);
CREATE INDEX labels_by_label_id ON labels (deployment, label_id) WHERE label_id <> '';
