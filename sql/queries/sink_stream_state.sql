SELECT oldest_pending, reported_at, coalesce(gap, '')
FROM {{.Schema}}.stream_state
WHERE pipeline = $1
