SELECT {{join .Columns ", "}}
FROM (
    SELECT DISTINCT *
    FROM ROWS FROM ({{join .Arrays ", "}}) AS k ({{join .Wanted ", "}})
) AS wanted
JOIN {{.Table}} AS t ON {{join .Conditions " AND "}}
{{- if .Filters}}
WHERE {{join .Filters " AND "}}
{{- end}}
