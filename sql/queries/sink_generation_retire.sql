UPDATE {{.Schema}}.generation
SET state = 'retired'
WHERE pipeline = {{.Name}} AND id = {{.ID}}
