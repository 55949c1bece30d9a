-- With $1, also the texts that could not be encoded before.
SELECT n.position - 1
FROM unnest($2::bytea[], {{.Arrays 3}}) WITH ORDINALITY AS n (text_hash, {{.Aliases}}, position)
LEFT JOIN {{.Vectors}} AS v ON {{.Match "v" "n"}}
WHERE
    v.text_hash IS DISTINCT FROM n.text_hash
    AND (
        $1::boolean
        OR coalesce((SELECT l.failed_at IS NULL OR l.text_hash <> n.text_hash FROM {{.Ledger}} AS l WHERE {{.Match "l" "n"}}), true)
    )
