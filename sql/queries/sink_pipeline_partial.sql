-- One statement takes the lock that it needs: two chunks that first shared it could not both go on to update.
UPDATE {{.Schema}}.pipeline
SET partial_until = CASE WHEN greatest(partial_until, $2::pg_lsn) > watermark THEN greatest(partial_until, $2::pg_lsn) END
WHERE name = $1 AND watermark IS NOT NULL
RETURNING epoch, watermark, coalesce(truncated_epoch, 0), truncated_at, generations
