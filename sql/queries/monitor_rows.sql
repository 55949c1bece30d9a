-- Live rows, and those of them whose vector in the active generation belongs to their text.
SELECT
{{- if .Vectors}}
    count(*) FILTER (WHERE NOT l.deleted AND l.{{.Hash}} IS DISTINCT FROM ''),
    count(*) FILTER (WHERE v.text_hash = l.{{.Hash}})
FROM {{.Ledger}} AS l
LEFT JOIN {{.Vectors}} AS v USING ({{join .Keys ", "}})
{{- else}}
    count(*) FILTER (WHERE NOT l.deleted),
    0::bigint
FROM {{.Ledger}} AS l
{{- end}}
