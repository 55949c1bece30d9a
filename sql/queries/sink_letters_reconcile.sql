-- Every letter of the generation whose row has gone, or has another text.
DELETE FROM {{.Letters}} AS d
WHERE
    d.pipeline = $1 AND d.generation = {{.Generation}}
    AND NOT EXISTS (
        SELECT FROM {{.Ledger}} AS l
        WHERE {{.Holds "l" "d.key"}} AND l.failed_at IS NOT NULL AND l.{{.Hash}} = d.text_hash
    )
