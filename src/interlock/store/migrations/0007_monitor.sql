CREATE TABLE monitors (
    name TEXT PRIMARY KEY,
    plan TEXT NOT NULL,
    reference TEXT NOT NULL,
    model TEXT NOT NULL,
    episode TEXT NOT NULL,
    set_at BIGINT NOT NULL
);
-- `starts_at` and `ends_at` bound the event times of a window; `report` names the WindowReport object; a window
-- is evaluated again when labels come, so `looks` counts and the report is the newest.
CREATE TABLE monitor_windows (
    monitor TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    model TEXT NOT NULL,
    predictions BIGINT NOT NULL,
    labels BIGINT NOT NULL,
    severity TEXT NOT NULL,
    verdict TEXT NOT NULL,
    report TEXT NOT NULL,
    looks BIGINT NOT NULL,
    evaluated_at BIGINT NOT NULL,
    PRIMARY KEY (monitor, starts_at, model)
);
CREATE TABLE label_batches (
    monitor TEXT NOT NULL,
    digest TEXT NOT NULL,
    rows BIGINT NOT NULL,
    arrived_at BIGINT NOT NULL,
    PRIMARY KEY (monitor, digest)
);
