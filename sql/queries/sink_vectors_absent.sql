-- The given texts that their key has by the ledger, whose rows the upsert before has locked, and of which the generation knows not even
-- another text. The keys come back as the sink stores them, for COPY.
SELECT n.position - 1, {{.Columns "l"}}
FROM unnest($1::bytea[], {{.Arrays 2}}) WITH ORDINALITY AS n (text_hash, {{.Aliases}}, position)
JOIN {{.Ledger}} AS l ON {{.Match "l" "n"}} AND NOT l.deleted AND l.{{.Hash}} = n.text_hash
WHERE NOT EXISTS (SELECT FROM {{.Vectors}} AS v WHERE {{.Same "v" "l"}})
ORDER BY n.position
