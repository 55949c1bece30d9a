-- Only of the epoch that the process read: a gap that another one has repaired is none any more.
INSERT INTO {{.Schema}}.stream_state AS s (pipeline, oldest_pending, reported_at, gap)
SELECT name, NULL, clock_timestamp(), $3
FROM {{.Schema}}.pipeline
WHERE name = $1 AND epoch = $2
ON CONFLICT (pipeline) DO UPDATE
SET gap = excluded.gap
