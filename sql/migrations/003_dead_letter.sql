-- A retry of dead letters reads the source, so it has a job's row as a backfill has; it sees a few keys only and never sweeps.
ALTER TABLE {{.Schema}}.backfill
    ADD COLUMN failed bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT backfill_mode_check,
    ADD CONSTRAINT backfill_mode_check CHECK (mode IN ('incremental', 'full', 'retry')),
    DROP CONSTRAINT backfill_outcome_check,
    ADD CONSTRAINT backfill_outcome_check CHECK (outcome IN ('swept', 'limit', 'retried', 'restarted', 'new epoch', 'expired'));
