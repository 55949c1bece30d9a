-- The letters of a generation go with it; a row that fails in no other has not failed.
WITH gone AS (
    DELETE FROM {{.Letters}}
    WHERE pipeline = {{.Pipeline}} AND generation = {{.Generation}}
    RETURNING key
)
UPDATE {{.Ledger}} AS l
SET failed_at = NULL
FROM gone AS g
WHERE
    {{.Holds "l" "g.key"}}
    AND NOT EXISTS (
        SELECT FROM {{.Letters}} AS d
        WHERE d.pipeline = {{.Pipeline}} AND d.key = g.key AND d.generation <> {{.Generation}}
    )
