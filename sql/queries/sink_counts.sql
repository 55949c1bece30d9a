SELECT
    count(*) FILTER (WHERE NOT l.deleted AND l.{{.Hash}} IS DISTINCT FROM ''),
    count(*) FILTER (WHERE v.text_hash = l.{{.Hash}}),
    count(*) FILTER (WHERE l.deleted)
FROM {{.Ledger}} AS l
LEFT JOIN {{.Vectors}} AS v ON {{.Same "v" "l"}}
