-- The vectors as they are stored: a type that is named here by the schema of pgvector could be another role's by now.
SELECT n.position - 1, v.text_hash, v.embedding
FROM unnest({{.Arrays 1}}) WITH ORDINALITY AS n ({{.Aliases}}, position)
JOIN {{.Vectors}} AS v ON {{.Match "v" "n"}}
