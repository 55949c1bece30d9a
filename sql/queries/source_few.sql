-- How many rows are not marked as deleted, up to a number.
SELECT pg_catalog.count(*)
FROM (
    SELECT FROM {{.Table}} AS t{{if .Deleted}} WHERE ({{.Deleted}}) IS NOT TRUE{{end}}
    LIMIT {{.Limit}}
) AS few
