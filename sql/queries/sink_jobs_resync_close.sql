UPDATE {{.Schema}}.backfill
SET open = false, outcome = 'restarted', updated_at = now()
WHERE pipeline = $1 AND open AND resync
