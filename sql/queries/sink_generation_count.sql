-- The stream's compare-and-set includes the counter: it learns of the new generation before it writes again.
UPDATE {{.Schema}}.pipeline
SET generations = generations + 1
WHERE name = {{.Name}}
