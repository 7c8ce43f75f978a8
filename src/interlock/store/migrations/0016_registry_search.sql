-- What a version rests on, as searches compare it: params and last metrics of its run (NULL stands for NaN), the features it takes
-- in their order, the datasets it was trained on (number 0: none was named). Copied when it is registered from its pins and its
-- files, which never change. `facts` is 1 where that was done; versions from before are 0 until somebody searches.
CREATE TABLE model_version_params (
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, version, name)
);
CREATE TABLE model_version_metrics (
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    key TEXT NOT NULL,
    value DOUBLE PRECISION,
    PRIMARY KEY (model, version, key)
);
CREATE INDEX model_version_metrics_value ON model_version_metrics (key, value);
CREATE TABLE model_version_features (
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (model, version, name)
);
CREATE INDEX model_version_features_name ON model_version_features (name, model, version);
CREATE TABLE model_version_data (
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (model, version, name, number)
);
CREATE INDEX model_version_data_name ON model_version_data (name, number, model, version);
ALTER TABLE model_versions ADD COLUMN facts BIGINT NOT NULL DEFAULT 0;
CREATE INDEX model_versions_facts ON model_versions (model, version) WHERE facts = 0;
CREATE INDEX model_versions_updated ON model_versions (updated_at, model, version);
-- MLflow's stage is a word without consequences; ours is the life cycle.
ALTER TABLE model_versions RENAME COLUMN label TO mlflow_stage;
-- A collection of garbage asks of some objects whether a file has come to name them.
CREATE INDEX artifacts_digest ON artifacts (digest);
