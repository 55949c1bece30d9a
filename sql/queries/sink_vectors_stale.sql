-- With $1, also the texts that could not be encoded before. The ledger is named first, to be locked before the vectors as by all who read both.
SELECT n.position - 1
FROM (SELECT FROM {{.Ledger}} WHERE false) AS locked
RIGHT JOIN unnest($2::bytea[], {{.Arrays 3}}) WITH ORDINALITY AS n (text_hash, {{.Aliases}}, position) ON true
LEFT JOIN {{.Vectors}} AS v ON {{.Match "v" "n"}}
WHERE
    v.text_hash IS DISTINCT FROM n.text_hash
    AND (
        $1::boolean
        OR NOT EXISTS (
            SELECT FROM {{.Ledger}} AS l
            JOIN {{.Letters}} AS d
                ON d.pipeline = {{.Pipeline}} AND d.key = {{.KeyParts "n"}} AND d.generation = {{.Generation}} AND d.text_hash = n.text_hash
            WHERE {{.Match "l" "n"}} AND l.failed_at IS NOT NULL AND l.{{.Hash}} = n.text_hash
        )
    )
