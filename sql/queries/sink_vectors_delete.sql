DELETE FROM {{.Vectors}} AS v
USING unnest({{.Arrays 1}}) AS n ({{.Aliases}}), {{.Ledger}} AS l
WHERE {{.Match "l" "n"}} AND l.deleted AND {{.Same "v" "l"}}
