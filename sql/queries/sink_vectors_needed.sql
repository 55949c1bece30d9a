SELECT DISTINCT n.text_hash
FROM unnest($1::bytea[], {{.Arrays 2}}) AS n (text_hash, {{.Aliases}})
JOIN {{.Ledger}} AS l ON {{.Match "l" "n"}} AND NOT l.deleted AND l.{{.Hash}} = n.text_hash
LEFT JOIN {{.Vectors}} AS v ON {{.Same "v" "l"}}
WHERE
    v.text_hash IS DISTINCT FROM n.text_hash
    AND NOT (
        l.failed_at IS NOT NULL
        AND EXISTS (
            SELECT FROM {{.Letters}} AS d
            WHERE d.pipeline = {{.Pipeline}} AND d.key = {{.KeyParts "n"}} AND d.generation = {{.Generation}} AND d.text_hash = n.text_hash
        )
    )
