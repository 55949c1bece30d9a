-- After generation_previous: one at most is active at any moment.
UPDATE {{.Schema}}.generation
SET state = 'active', activated_at = clock_timestamp()
WHERE pipeline = {{.Name}} AND id = {{.ID}}
