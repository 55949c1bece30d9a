-- Live rows, and those of them whose vector in the active generation belongs to their text.
SELECT
    count(*) FILTER (WHERE NOT l.deleted),
{{- if .Vectors}}
    count(*) FILTER (WHERE NOT l.deleted AND v.text_hash = l.text_hash)
FROM {{.Ledger}} AS l
LEFT JOIN {{.Vectors}} AS v USING ({{join .Keys ", "}})
{{- else}}
    0::bigint
FROM {{.Ledger}} AS l
{{- end}}
