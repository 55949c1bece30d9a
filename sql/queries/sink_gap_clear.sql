UPDATE {{.Schema}}.stream_state
SET gap = NULL
WHERE pipeline = $1 AND gap IS NOT NULL
