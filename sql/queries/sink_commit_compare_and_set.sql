-- The division fails when no row matches, which ends the pipeline of statements before any of them writes.
WITH moved AS (
    UPDATE {{.Schema}}.pipeline
    SET
        watermark = coalesce($6::pg_lsn, watermark),
        partial_until = CASE
            WHEN $7::pg_lsn IS NOT NULL THEN greatest(partial_until, $7::pg_lsn)
            WHEN partial_until > coalesce($6::pg_lsn, watermark) THEN partial_until
        END,
        last_lsn = coalesce($9::pg_lsn, last_lsn),
        last_xid = CASE WHEN $9::pg_lsn IS NULL THEN last_xid ELSE $10::bigint END,
        last_committed_at = CASE WHEN $9::pg_lsn IS NULL THEN last_committed_at ELSE $11::timestamptz END,
        truncated_epoch = CASE WHEN $8::pg_lsn IS NULL THEN truncated_epoch ELSE epoch END,
        truncated_at = CASE WHEN truncated_epoch = epoch THEN greatest(truncated_at, $8::pg_lsn) ELSE coalesce($8::pg_lsn, truncated_at) END
    WHERE name = $1 AND owner = $2 AND epoch = $3 AND watermark = $4::pg_lsn AND generations = $5
    RETURNING name
)
SELECT 1 / count(*) FROM moved
