UPDATE {{.Schema}}.backfill
SET swap = true
WHERE id = $1
