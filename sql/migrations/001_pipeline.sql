-- What is known of every pipeline, in the order of their dependence.
CREATE TABLE {{.Schema}}.pipeline (
    name text PRIMARY KEY CHECK (name ~ '^[a-z_][a-z0-9_]{0,39}$'),
    system_id text NOT NULL,
    timeline integer NOT NULL,
    slot text NOT NULL,
    publication text NOT NULL,
    source_schema text NOT NULL,
    source_table text NOT NULL,
    source_oid oid NOT NULL,
    key_columns text[] NOT NULL CHECK (pg_catalog.cardinality(key_columns) > 0),
    key_types text[] NOT NULL CHECK (pg_catalog.cardinality(key_types) = pg_catalog.cardinality(key_columns)),
    epoch bigint NOT NULL DEFAULT 0,
    watermark pg_lsn,
    truncated_epoch bigint,
    truncated_at pg_lsn,
    partial_until pg_lsn,
    owner text,
    generations bigint NOT NULL DEFAULT 0,
    view_schema text,
    view_name text,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- A pipeline without a watermark is an intent: its slot does not exist yet.
    CHECK ((watermark IS NULL) = (epoch = 0)),
    CHECK ((truncated_epoch IS NULL) = (truncated_at IS NULL))
-- Every commit updates the row: room on the page keeps the update heap-only.
) WITH (fillfactor = 20);

CREATE TABLE {{.Schema}}.generation (
    pipeline text NOT NULL REFERENCES {{.Schema}}.pipeline,
    id integer NOT NULL CHECK (id > 0),
    fingerprint text NOT NULL,
    model text NOT NULL,
    template text NOT NULL,
    dimension integer NOT NULL CHECK (dimension > 0),
    storage text NOT NULL CHECK (storage IN ('vector', 'halfvec')),
    precisions text[] NOT NULL CHECK (pg_catalog.cardinality(precisions) > 0),
    state text NOT NULL CHECK (state IN ('building', 'active', 'retired')),
    vector_table text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (pipeline, id)
);

CREATE UNIQUE INDEX generation_active ON {{.Schema}}.generation (pipeline) WHERE state = 'active';

CREATE TABLE {{.Schema}}.stream_state (
    pipeline text PRIMARY KEY REFERENCES {{.Schema}}.pipeline,
    oldest_pending timestamptz,
    reported_at timestamptz NOT NULL
) WITH (fillfactor = 20);
