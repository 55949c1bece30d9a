{{- /* With .Bytes a chunk ends with the row that fills the bytes for one. Else each row has its share of them: counting took longer than reading. */ -}}
SELECT {{.Sent}}
FROM (
{{- if .Bytes}}
    SELECT *, coalesce(sum({{range $i, $values := .Templates}}{{if $i}} + {{end}}CASE WHEN s{{inc $i}} <= {{$.Most}} THEN s{{inc $i}} ELSE 0 END{{end}}) OVER (
        ORDER BY {{join .Ordinals ", "}} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ), 0) AS before
    FROM (
{{- end}}
        SELECT {{.Row}}
        FROM {{.Table}} AS t
{{- if .After}}
        WHERE ({{range $i, $key := .Key}}{{if $i}}, {{end}}t.{{$key}}{{end}}) > ({{join .After ", "}})
{{- end}}
        ORDER BY {{range $i, $key := .Key}}{{if $i}}, {{end}}t.{{$key}}{{end}}
        LIMIT {{.Limit}}
{{- if .Bytes}}
    ) AS read
{{- end}}
) AS counted
{{- if .Bytes}}
WHERE before < {{.Bytes}}
{{- end}}
ORDER BY {{join .Ordinals ", "}}
