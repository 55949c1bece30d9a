UPDATE {{.Schema}}.pipeline
SET view_schema = {{.ViewSchema}}, view_name = {{.ViewName}}
WHERE name = {{.Name}}
