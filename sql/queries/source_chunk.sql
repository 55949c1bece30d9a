SELECT {{join .Columns ", "}}
FROM {{.Table}}
{{- if .After}}
WHERE ({{join .Key ", "}}) > ({{join .After ", "}})
{{- end}}
ORDER BY {{join .Key ", "}}
LIMIT {{.Limit}}
