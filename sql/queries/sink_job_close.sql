UPDATE {{.Schema}}.backfill
SET open = false, outcome = $2, swept = $3, updated_at = now()
WHERE id = $1 AND open
