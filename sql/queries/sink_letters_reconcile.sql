-- Every letter whose row has gone, has another text, or has its vector.
DELETE FROM {{.Schema}}.dead_letter AS d
WHERE
    d.pipeline = $1
    AND NOT EXISTS (
        SELECT FROM {{.Ledger}} AS l
        WHERE {{.Holds "l" "d.key"}} AND l.failed_at IS NOT NULL AND l.text_hash = d.text_hash
    )
