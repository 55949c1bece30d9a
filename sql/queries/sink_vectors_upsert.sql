-- The ledger decides: its row, locked by the upsert before, is live with this text, written by any process.
INSERT INTO {{.Vectors}} AS v ({{.Columns ""}}, text_hash, embedding, updated_at)
SELECT {{.Columns "l"}}, n.text_hash, n.embedding::{{.Storage}}, now()
FROM unnest($2::bytea[], $3::{{.Extension}}.vector[], {{.Arrays 4}}) AS n (text_hash, embedding, {{.Aliases}})
JOIN {{.Ledger}} AS l ON {{.Match "l" "n"}} AND NOT l.deleted AND l.{{.Hash}} = n.text_hash
ON CONFLICT ({{.Columns ""}}) DO UPDATE
SET text_hash = excluded.text_hash, embedding = excluded.embedding, updated_at = excluded.updated_at
WHERE $1::boolean OR v.text_hash <> excluded.text_hash
