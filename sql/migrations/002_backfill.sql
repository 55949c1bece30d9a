-- A backfill's row is committed before its first read of the source; the token says which process may commit its chunks.
CREATE TABLE {{.Schema}}.backfill (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline text NOT NULL REFERENCES {{.Schema}}.pipeline,
    mode text NOT NULL CHECK (mode IN ('incremental', 'full')),
    row_limit bigint CHECK (row_limit > 0),
    resync boolean NOT NULL DEFAULT false,
    token uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    started_epoch bigint NOT NULL,
    started_lsn pg_lsn NOT NULL,
    cursor text[],
    processed bigint NOT NULL DEFAULT 0,
    written bigint NOT NULL DEFAULT 0,
    unchanged bigint NOT NULL DEFAULT 0,
    superseded bigint NOT NULL DEFAULT 0,
    swept bigint NOT NULL DEFAULT 0,
    open boolean NOT NULL DEFAULT true,
    outcome text CHECK (outcome IN ('swept', 'limit', 'restarted', 'new epoch', 'expired')),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    CHECK (open = (outcome IS NULL)),
    CHECK (NOT resync OR row_limit IS NULL)
);

CREATE INDEX backfill_open ON {{.Schema}}.backfill (pipeline) WHERE open;

CREATE TABLE {{.Schema}}.dead_letter (
    pipeline text NOT NULL REFERENCES {{.Schema}}.pipeline,
    key text[] NOT NULL,
    epoch bigint NOT NULL,
    lsn pg_lsn NOT NULL,
    text_hash bytea NOT NULL CHECK (pg_catalog.length(text_hash) = 16),
    reason text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    last_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (pipeline, key)
);
