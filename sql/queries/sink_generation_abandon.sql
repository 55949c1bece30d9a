-- The job that fills a generation ends with it.
UPDATE {{.Schema}}.backfill
SET open = false, outcome = 'retired', updated_at = now()
WHERE pipeline = {{.Name}} AND open AND generation = {{.ID}}
