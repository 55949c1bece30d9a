-- The pipeline's own, without a reference to what pipelines share: a stream's open transaction does not keep it from being made or dropped. Who may
-- write it writes nothing that who lists, retries or counts dead letters could not read.
CREATE TABLE {{.Letters}} (
    pipeline text NOT NULL,
    key text[] NOT NULL,
    generation integer NOT NULL,
    epoch bigint NOT NULL,
    lsn pg_lsn NOT NULL,
    text_hash bytea NOT NULL CHECK (pg_catalog.length(text_hash) = 16),
    reason text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    last_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- One for each key and generation. A hash takes a key of any length, where a B-tree's entry ends at 2,704 bytes.
    CONSTRAINT {{.LettersKey}} EXCLUDE USING hash ((CASE WHEN pg_catalog.array_ndims(key) = 1 THEN pg_catalog.array_append(key, generation::text) END) WITH OPERATOR(pg_catalog.=)),
    CONSTRAINT letter_pipeline CHECK (pipeline = {{.Pipeline}}),
    CONSTRAINT letter_key CHECK ((pg_catalog.array_ndims(key) = 1 AND pg_catalog.array_lower(key, 1) = 1 AND pg_catalog.array_length(key, 1) = {{len .Keys}} AND {{.Written "key"}}) IS TRUE),
    CONSTRAINT letter_reason CHECK (pg_catalog.length(reason) <= 4000),
    CONSTRAINT letter_counts CHECK (generation > 0 AND attempts BETWEEN 1 AND 1000000000),
    CONSTRAINT letter_times CHECK (
        first_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
        AND last_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00'
    )
)
