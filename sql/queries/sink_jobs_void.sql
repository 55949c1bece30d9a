-- Positions of two epochs are not comparable: a job of an older one proves nothing. One that fills a generation is opened again: what it
-- has not seen would be missing from the generation.
WITH closed AS (
    UPDATE {{.Schema}}.backfill
    SET open = false, outcome = 'new epoch', updated_at = now()
    WHERE pipeline = $1 AND open AND started_epoch <> $2
    RETURNING generation
)
INSERT INTO {{.Schema}}.backfill (pipeline, mode, generation, started_epoch, started_lsn)
SELECT DISTINCT $1, 'build', c.generation, $2::bigint, $3::pg_lsn
FROM closed AS c
WHERE c.generation IS NOT NULL
