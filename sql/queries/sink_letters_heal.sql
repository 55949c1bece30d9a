-- These texts have their vectors now.
UPDATE {{.Ledger}} AS l
SET failed_at = NULL
FROM unnest($1::bytea[], {{.Arrays 2}}) AS n (text_hash, {{.Aliases}})
WHERE {{.Match "l" "n"}} AND l.failed_at IS NOT NULL AND l.text_hash = n.text_hash
