-- A generation is built beside the active one, takes its place, and is kept and written until it is retired. source is what opens its
-- model again, where that is not the configured one; hash_column the ledger's column for the texts of its template; precision what was
-- configured for it, where precisions are those that wrote.
ALTER TABLE {{.Schema}}.generation
    ADD COLUMN source text NOT NULL DEFAULT '',
    ADD COLUMN hash_column text NOT NULL DEFAULT 'text_hash',
    ADD COLUMN precision text NOT NULL DEFAULT 'auto',
    ADD COLUMN activated_at timestamptz,
    DROP CONSTRAINT generation_precisions_check,
    DROP CONSTRAINT generation_state_check,
    ADD CONSTRAINT generation_state_check CHECK (state IN ('building', 'active', 'previous', 'retired'));

UPDATE {{.Schema}}.generation SET activated_at = created_at WHERE state = 'active';

-- The job that fills a generation is opened with it, and again in a new epoch.
ALTER TABLE {{.Schema}}.backfill
    ADD COLUMN generation integer,
    ADD CONSTRAINT backfill_generation FOREIGN KEY (pipeline, generation) REFERENCES {{.Schema}}.generation (pipeline, id),
    DROP CONSTRAINT backfill_mode_check,
    ADD CONSTRAINT backfill_mode_check CHECK (mode IN ('incremental', 'full', 'retry', 'build')),
    ADD CONSTRAINT backfill_build CHECK ((mode = 'build') = (generation IS NOT NULL)),
    DROP CONSTRAINT backfill_outcome_check,
    ADD CONSTRAINT backfill_outcome_check CHECK (
        outcome IN ('swept', 'limit', 'retried', 'restarted', 'new epoch', 'expired', 'retired')
    );

-- A text that one model refuses may have its vector of another.
ALTER TABLE {{.Schema}}.dead_letter
    ADD COLUMN generation integer;

UPDATE {{.Schema}}.dead_letter AS d
SET generation = (SELECT pg_catalog.min(g.id) FROM {{.Schema}}.generation AS g WHERE g.pipeline = d.pipeline AND g.state <> 'retired');

ALTER TABLE {{.Schema}}.dead_letter
    ALTER COLUMN generation SET NOT NULL,
    DROP CONSTRAINT dead_letter_pkey,
    ADD PRIMARY KEY (pipeline, key, generation);
