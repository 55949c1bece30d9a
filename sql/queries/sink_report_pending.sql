INSERT INTO {{.Schema}}.stream_state AS s (pipeline, oldest_pending, reported_at)
SELECT name, $3, clock_timestamp()
FROM {{.Schema}}.pipeline
WHERE name = $1 AND owner = $2
ON CONFLICT (pipeline) DO UPDATE
SET oldest_pending = excluded.oldest_pending, reported_at = excluded.reported_at, gap = NULL
