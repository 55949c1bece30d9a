UPDATE {{.Schema}}.pipeline
SET partial_until = CASE WHEN greatest(partial_until, $2::pg_lsn) > watermark THEN greatest(partial_until, $2::pg_lsn) END
WHERE name = $1 AND watermark IS NOT NULL AND epoch = $3
RETURNING 1
