-- No generation fails at these texts any more.
UPDATE {{.Ledger}} AS l
SET failed_at = NULL
FROM unnest({{.Arrays 2}}) AS n ({{.Aliases}})
WHERE
    {{.Match "l" "n"}} AND l.failed_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM {{.Letters}} AS d WHERE d.pipeline = $1 AND d.key = {{.KeyParts "n"}})
