-- The ledger: an RFC 9162 tree. `entry` is the leaf's canonical bytes; the columns beside it are copies for queries,
-- which `ledger verify` compares with it. Payloads rest apart, so that one can be erased.
CREATE TABLE ledger_entries (
    idx BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    actor TEXT NOT NULL,
    entry BYTEA NOT NULL
);
CREATE INDEX ledger_entries_kind ON ledger_entries (kind, idx);
CREATE INDEX ledger_entries_subject ON ledger_entries (subject, idx);
CREATE TABLE ledger_payloads (
    idx BIGINT PRIMARY KEY,
    hmac_key BYTEA NOT NULL,
    payload BYTEA NOT NULL
);
-- Level 0 is leaves; only full subtrees are kept.
CREATE TABLE ledger_nodes (
    level BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (level, idx)
);
-- `number` counts from 1 without gaps, so that a checkpoint that was taken away is missed.
CREATE TABLE ledger_checkpoints (
    size BIGINT PRIMARY KEY,
    number BIGINT NOT NULL,
    root BYTEA NOT NULL,
    note TEXT NOT NULL,
    signed_at BIGINT NOT NULL
);
