-- What the sink holds of some keys. The vectors are read as they are stored: an operator or a type that is named here by the schema of pgvector could be
-- another role's by now. The ledger is named before the vectors, to be locked in that order as by all who read both.
SELECT
    n.position - 1,
    l.epoch,
    l.lsn,
    coalesce(l.deleted, false),
    l.{{.Hash}},
    v.text_hash,
    v.embedding,
    d.text_hash,
    coalesce(d.reason, '')
FROM unnest({{.Arrays 1}}) WITH ORDINALITY AS n ({{.Aliases}}, position)
LEFT JOIN {{.Ledger}} AS l ON {{.Match "l" "n"}}
LEFT JOIN {{.Vectors}} AS v ON {{.Match "v" "n"}}
LEFT JOIN {{.Letters}} AS d
    ON d.pipeline = {{.Pipeline}} AND d.key = {{.KeyParts "n"}} AND d.generation = {{.Generation}}
