CREATE TABLE models (
    name TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL
);
CREATE TABLE model_versions (
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    run TEXT NOT NULL,
    bundle TEXT NOT NULL,
    data TEXT NOT NULL,
    stage TEXT NOT NULL,
    stage_reason TEXT NOT NULL,
    stage_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (model, version)
);
CREATE UNIQUE INDEX model_versions_run ON model_versions (model, run);
CREATE TABLE model_aliases (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (model, alias)
);
-- One row a gate report: what was judged, under which policy, with which result.
CREATE TABLE gate_reports (
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    report TEXT NOT NULL,
    policy TEXT NOT NULL,
    passed BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (model, version, made_at)
);
CREATE TABLE approvals (
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    actor TEXT NOT NULL,
    bundle TEXT NOT NULL,
    report TEXT NOT NULL,
    policy TEXT NOT NULL,
    note TEXT NOT NULL,
    given_at BIGINT NOT NULL,
    PRIMARY KEY (model, version, actor)
);
CREATE TABLE waivers (
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    gate TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    until BIGINT NOT NULL,
    PRIMARY KEY (model, version, gate)
);
