{{- /* Of a row whose columns are more than the limit, their length comes instead of them. */ -}}
SELECT {{join .Names ", "}}{{range $i, $column := .Columns}}, CASE WHEN size <= {{$.Most}} THEN c{{inc $i}} END{{end}}, CASE WHEN size > {{.Most}} THEN size END
FROM (
    SELECT {{range $i, $key := .Key}}t.{{$key}} AS {{index $.Names $i}}, {{end}}{{range $i, $column := .Columns}}t.{{$column}} AS c{{inc $i}}, {{end}}0::bigint
    {{- range $i, $column := .Columns}} + coalesce(octet_length({{if index $.Texts $i}}t.{{$column}}::text{{else}}format('%s', t.{{$column}}){{end}}), 0){{end}} AS size
    FROM (
        SELECT DISTINCT *
        FROM ROWS FROM ({{join .Arrays ", "}}) AS k ({{join .Wanted ", "}})
    ) AS wanted
    JOIN {{.Table}} AS t ON {{join .Conditions " AND "}}
{{- if .Filters}}
    WHERE {{join .Filters " AND "}}
{{- end}}
    OFFSET 0
) AS read
