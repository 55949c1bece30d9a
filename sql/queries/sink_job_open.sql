SELECT EXISTS (SELECT FROM {{.Schema}}.backfill WHERE pipeline = $1 AND open AND generation = $2 AND started_epoch = $3)
