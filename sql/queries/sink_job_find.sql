-- The refresh of a resync goes before a job without a limit; a job that fills a generation is its own refresh.
SELECT id, resync
FROM {{.Schema}}.backfill
WHERE
    pipeline = $1 AND open AND started_epoch = $4
    AND (
        (resync AND $3::bigint = 0 AND $2 NOT IN ('retry', 'build'))
        OR (NOT resync AND mode = $2 AND coalesce(row_limit, 0) = $3::bigint AND coalesce(generation, 0) = $5::integer)
    )
ORDER BY resync DESC, id
LIMIT 1
