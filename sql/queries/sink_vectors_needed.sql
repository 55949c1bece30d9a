SELECT DISTINCT n.text_hash
FROM unnest($1::bytea[], {{.Arrays 2}}) AS n (text_hash, {{.Aliases}})
JOIN {{.Ledger}} AS l ON {{.Match "l" "n"}} AND NOT l.deleted AND l.text_hash = n.text_hash AND l.failed_at IS NULL
LEFT JOIN {{.Vectors}} AS v ON {{.Same "v" "l"}}
WHERE v.text_hash IS DISTINCT FROM n.text_hash
