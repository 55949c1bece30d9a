SELECT {{.Texts "l"}}
FROM {{.Ledger}} AS l
WHERE NOT l.deleted
{{- if .After}} AND ({{.Columns "l"}}) > ({{.Params 2}}){{end}}
ORDER BY {{.Columns "l"}}
LIMIT $1
