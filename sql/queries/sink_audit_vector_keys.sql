-- Keys of vectors, and whether the ledger lacks their live row. The ledger is named first, to be locked before the vectors.
SELECT {{.Texts "v"}}, l.deleted IS DISTINCT FROM false
FROM (SELECT FROM {{.Ledger}} WHERE false) AS locked
RIGHT JOIN (
    SELECT {{.Columns "w"}}
    FROM {{.Vectors}} AS w
{{- if .After}}
    WHERE ({{.Columns "w"}}) > ({{.Params 2}})
{{- end}}
    ORDER BY {{.Columns "w"}}
    LIMIT $1
) AS v ON true
LEFT JOIN {{.Ledger}} AS l ON {{.Same "l" "v"}}
ORDER BY {{.Columns "v"}}
