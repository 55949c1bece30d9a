-- The letters of a generation go with it; a row that fails in no other has not failed.
WITH gone AS (
    DELETE FROM {{.Schema}}.dead_letter
    WHERE pipeline = {{.Pipeline}} AND generation = {{.Generation}}
    RETURNING key
)
UPDATE {{.Ledger}} AS l
SET failed_at = NULL
FROM gone AS g
WHERE
    {{.Holds "l" "g.key"}}
    AND NOT EXISTS (
        SELECT FROM {{.Schema}}.dead_letter AS d
        WHERE d.pipeline = {{.Pipeline}} AND d.key = g.key AND d.generation <> {{.Generation}}
    )
