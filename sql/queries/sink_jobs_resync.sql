SELECT count(*) > 0, coalesce(bool_or(swap), false)
FROM {{.Schema}}.backfill
WHERE pipeline = $1 AND open AND resync AND started_epoch = $2
