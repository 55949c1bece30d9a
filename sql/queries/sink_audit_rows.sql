-- What the sink holds of some keys. The ledger is named before the vectors, to be locked in that order as by all who read both.
SELECT
    n.position - 1,
    l.epoch,
    l.lsn,
    coalesce(l.deleted, false),
    l.{{.Hash}},
    v.text_hash,
    coalesce(sqrt(-(v.embedding OPERATOR({{.Extension}}.<#>) v.embedding)), 0),
    d.text_hash,
    coalesce(d.reason, '')
FROM unnest({{.Arrays 1}}) WITH ORDINALITY AS n ({{.Aliases}}, position)
LEFT JOIN {{.Ledger}} AS l ON {{.Match "l" "n"}}
LEFT JOIN {{.Vectors}} AS v ON {{.Match "v" "n"}}
LEFT JOIN {{.Letters}} AS d
    ON d.pipeline = {{.Pipeline}} AND d.key = {{.KeyParts "n"}} AND d.generation = {{.Generation}}
