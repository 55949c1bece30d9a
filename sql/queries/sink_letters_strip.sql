-- A live text that has no vector leaves none behind that belongs to the text before it.
DELETE FROM {{.Vectors}} AS v
USING unnest($1::bytea[], {{.Arrays 2}}) AS n (text_hash, {{.Aliases}}), {{.Ledger}} AS l
WHERE {{.Match "l" "n"}} AND NOT l.deleted AND l.{{.Hash}} = n.text_hash AND {{.Same "v" "l"}} AND v.text_hash <> l.{{.Hash}}
