-- How many rows are not marked as deleted, up to a number.
SELECT pg_catalog.count(*)
FROM (
    SELECT FROM {{.Table}} AS t{{if .Mark}} WHERE t.{{.Mark}} IS {{if .MarkIsBool}}NOT TRUE{{else}}NOT DISTINCT FROM NULL{{end}}{{end}}
    LIMIT {{.Limit}}
) AS few
