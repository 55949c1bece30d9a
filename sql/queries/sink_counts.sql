SELECT
    count(*) FILTER (WHERE NOT l.deleted),
    count(*) FILTER (WHERE NOT l.deleted AND v.text_hash = l.text_hash),
    count(*) FILTER (WHERE l.deleted)
FROM {{.Ledger}} AS l
LEFT JOIN {{.Vectors}} AS v ON {{.Same "v" "l"}}
