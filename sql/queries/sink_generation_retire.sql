UPDATE {{.Schema}}.backfill
SET open = false, outcome = 'retired', updated_at = now()
WHERE pipeline = {{.Name}} AND open AND generation = {{.ID}};

UPDATE {{.Schema}}.generation
SET state = 'retired'
WHERE pipeline = {{.Name}} AND id = {{.ID}}
