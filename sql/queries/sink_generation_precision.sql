UPDATE {{.Schema}}.generation
SET precisions = precisions || {{.Precision}}::text
WHERE pipeline = {{.Name}} AND id = {{.ID}}
