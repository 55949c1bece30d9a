SELECT oldest_pending, reported_at
FROM {{.Schema}}.stream_state
WHERE pipeline = $1
