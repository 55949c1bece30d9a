-- The refresh of a resync goes before a job without a limit.
SELECT id, resync
FROM {{.Schema}}.backfill
WHERE
    pipeline = $1 AND open AND started_epoch = $4
    AND ((resync AND $3::bigint = 0 AND $2 <> 'retry') OR (NOT resync AND mode = $2 AND coalesce(row_limit, 0) = $3::bigint))
ORDER BY resync DESC, id
LIMIT 1
