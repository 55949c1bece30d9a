SELECT EXISTS (SELECT FROM {{.Schema}}.backfill WHERE pipeline = $1 AND open AND resync AND swap AND started_epoch = $2)
