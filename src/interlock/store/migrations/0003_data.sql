CREATE TABLE datasets (
    name TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    declaration TEXT NOT NULL,
    contract TEXT NOT NULL
);
-- `digest` names the Parquet object; `profile` and `contract` name JSON objects; `record` is the DatasetVersion.
CREATE TABLE dataset_versions (
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    digest TEXT NOT NULL,
    rows BIGINT NOT NULL,
    profile TEXT NOT NULL,
    contract TEXT NOT NULL,
    record BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);
