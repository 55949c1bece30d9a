WITH gone AS (
    DELETE FROM {{.Letters}} AS d
    WHERE d.pipeline = $1 AND ($2::boolean OR d.key IN (SELECT {{.KeyParts "n"}} FROM unnest({{.Arrays 3}}) AS n ({{.Aliases}})))
    RETURNING d.key
), forgotten AS (
    UPDATE {{.Ledger}} AS l
    SET failed_at = NULL
    FROM gone
    WHERE {{.Holds "l" "gone.key"}}
)
SELECT key FROM gone
