-- The one that was active stays for a rollback.
UPDATE {{.Schema}}.generation
SET state = 'previous'
WHERE pipeline = {{.Name}} AND state = 'active';

UPDATE {{.Schema}}.generation
SET state = 'active', activated_at = clock_timestamp()
WHERE pipeline = {{.Name}} AND id = {{.ID}}
