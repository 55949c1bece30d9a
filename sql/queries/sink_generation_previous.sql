-- The one that was active stays for a rollback.
UPDATE {{.Schema}}.generation
SET state = 'previous'
WHERE pipeline = {{.Name}} AND state = 'active'
