DELETE FROM {{.Vectors}} AS v
USING unnest({{.Arrays 1}}) AS n ({{.Aliases}}), {{.Ledger}} AS l
WHERE {{.Match "l" "n"}} AND (l.{{.Hash}} IS NULL OR l.{{.Hash}} = '') AND {{.Same "v" "l"}}
