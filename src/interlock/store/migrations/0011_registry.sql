-- The registry in full. `last` is the largest number that was ever given under a model's name, so that no reference is given
-- twice; `archived_at` is NULL for what is live. Times are microseconds.
ALTER TABLE models ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE models ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE models ADD COLUMN last BIGINT NOT NULL DEFAULT 0;
ALTER TABLE models ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE models ADD COLUMN archived_at BIGINT;
UPDATE models SET updated_at = created_at,
    last = (SELECT coalesce(max(v.version), 0) FROM model_versions v WHERE v.model = models.name);
-- `bundle` names the manifest of the version's files, or is '' where they rest outside (unpinned). `run` is '' where none made
-- it. `origin` is the logged model it comes from; `location` is where a protocol's clients find its files; `label` is MLflow's
-- stage, a word without consequences; `pins` names the JSON object of all that the version rests on; `format` says what the files are.
ALTER TABLE model_versions ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE model_versions ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE model_versions ADD COLUMN status TEXT NOT NULL DEFAULT 'READY';
ALTER TABLE model_versions ADD COLUMN status_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE model_versions ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE model_versions ADD COLUMN location TEXT NOT NULL DEFAULT '';
ALTER TABLE model_versions ADD COLUMN run_link TEXT NOT NULL DEFAULT '';
ALTER TABLE model_versions ADD COLUMN origin TEXT NOT NULL DEFAULT '';
ALTER TABLE model_versions ADD COLUMN label TEXT NOT NULL DEFAULT 'None';
ALTER TABLE model_versions ADD COLUMN format TEXT NOT NULL DEFAULT 'bundle';
ALTER TABLE model_versions ADD COLUMN format_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE model_versions ADD COLUMN pins TEXT NOT NULL DEFAULT '';
ALTER TABLE model_versions ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE model_versions ADD COLUMN archived_at BIGINT;
UPDATE model_versions SET updated_at = created_at;
DROP INDEX model_versions_run;
CREATE INDEX model_versions_run ON model_versions (run, model);
CREATE INDEX model_versions_made ON model_versions (created_at, model, version);
CREATE TABLE model_tags (
    model TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, name)
);
CREATE INDEX model_tags_name ON model_tags (name, model);
CREATE TABLE model_version_tags (
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model, version, name)
);
CREATE INDEX model_version_tags_name ON model_version_tags (name, model, version);
-- Models that have gates written down, also before their first version.
CREATE TABLE model_guards (
    model TEXT PRIMARY KEY
);
INSERT INTO model_guards (model) SELECT substr(name, 8) FROM applied WHERE name LIKE 'policy:%';
-- Names that models had: numbers up to `last` under `name`, beyond those of earlier rows, mean versions of the model `now`.
CREATE TABLE model_former_names (
    name TEXT NOT NULL,
    last BIGINT NOT NULL,
    now TEXT NOT NULL,
    PRIMARY KEY (name, last)
);
