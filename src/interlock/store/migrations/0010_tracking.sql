-- Experiments, runs and logged models are deleted by `lifecycle` ('active' or 'deleted'), and can be restored.
ALTER TABLE experiments ADD COLUMN lifecycle TEXT NOT NULL DEFAULT 'active';
ALTER TABLE experiments ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
UPDATE experiments SET updated_at = created_at;
CREATE TABLE experiment_tags (
    experiment TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (experiment, name)
);
ALTER TABLE runs ADD COLUMN lifecycle TEXT NOT NULL DEFAULT 'active';
ALTER TABLE runs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN parent TEXT NOT NULL DEFAULT '';
CREATE INDEX runs_parent ON runs (parent);
CREATE INDEX run_params_value ON run_params (name, value);
CREATE INDEX run_tags_value ON run_tags (name, value);
-- What came from writers that number what they send, so that what comes twice counts once.
CREATE TABLE run_deliveries (
    run TEXT NOT NULL,
    writer TEXT NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (run, writer, number)
);
-- What a running run printed, piece by piece; one object when it ends.
CREATE TABLE run_log_parts (
    run TEXT NOT NULL,
    position BIGINT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (run, position)
);
-- Points that came one by one or by the batch, until they are packed into segments.
CREATE TABLE metric_inbox (
    run TEXT NOT NULL,
    digest TEXT NOT NULL,
    data BYTEA NOT NULL,
    PRIMARY KEY (run, digest)
);
-- A search walks the values of one metric in one experiment.
ALTER TABLE metric_latest ADD COLUMN experiment TEXT NOT NULL DEFAULT '';
UPDATE metric_latest SET experiment = COALESCE((SELECT r.experiment FROM runs r WHERE r.id = metric_latest.run), '');
DROP INDEX metric_latest_value;
CREATE INDEX metric_latest_value ON metric_latest (experiment, key, value);
-- Files of runs and of logged models, by the id of what they belong to.
ALTER TABLE run_artifacts RENAME TO artifacts;
ALTER TABLE artifacts RENAME COLUMN run TO owner;
-- Datasets as clients describe them (`record` is JSON), and which runs read them.
CREATE TABLE seen_datasets (
    experiment TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (experiment, name, digest)
);
-- `kind` is dataset, model or output; `name` and `digest` are a dataset's, `name` alone a logged model's id;
-- `context` is what a dataset was read for (`mlflow.data.context` among the tags).
CREATE TABLE run_links (
    run TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    step BIGINT NOT NULL,
    context TEXT NOT NULL,
    tags TEXT NOT NULL,
    PRIMARY KEY (run, kind, name, digest)
);
CREATE INDEX run_links_name ON run_links (kind, name);
CREATE TABLE logged_models (
    id TEXT PRIMARY KEY,
    experiment TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    run TEXT NOT NULL,
    status TEXT NOT NULL,
    status_message TEXT NOT NULL,
    lifecycle TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX logged_models_experiment ON logged_models (experiment, created_at);
CREATE INDEX logged_models_run ON logged_models (run);
CREATE TABLE logged_model_params (
    model TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, name)
);
CREATE TABLE logged_model_tags (
    model TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, name)
);
-- Points of metrics of a logged model on each dataset ("" for none); NULL stands for NaN.
CREATE TABLE logged_model_metrics (
    model TEXT NOT NULL,
    key TEXT NOT NULL,
    dataset_name TEXT NOT NULL,
    dataset_digest TEXT NOT NULL,
    run TEXT NOT NULL,
    step BIGINT NOT NULL,
    at BIGINT NOT NULL,
    value DOUBLE PRECISION,
    PRIMARY KEY (model, key, dataset_name, dataset_digest, run, step, at)
);
