-- What shall run (`spec` is the digest of a DeploymentSpec object) and what was last seen running.
CREATE TABLE deployments (
    name TEXT PRIMARY KEY,
    revision BIGINT NOT NULL,
    spec TEXT NOT NULL,
    state TEXT NOT NULL,
    pid BIGINT,
    started_at BIGINT,
    url TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE TABLE deployment_revisions (
    name TEXT NOT NULL,
    revision BIGINT NOT NULL,
    spec TEXT NOT NULL,
    reason TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (name, revision)
);
