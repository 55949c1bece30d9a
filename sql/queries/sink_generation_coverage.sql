-- Of the rows that have a text, or of which that is not known, those with its vector, and those whose text cannot be encoded: they have
-- a dead letter and need no vector.
SELECT
    count(*) FILTER (WHERE l.{{.Hash}} IS NULL OR length(l.{{.Hash}}) = 16),
    count(*) FILTER (WHERE v.text_hash = l.{{.Hash}}),
    count(*) FILTER (WHERE v.text_hash IS DISTINCT FROM l.{{.Hash}} AND d.text_hash IS NOT NULL)
FROM {{.Ledger}} AS l
LEFT JOIN {{.Vectors}} AS v ON {{.Same "v" "l"}}
LEFT JOIN {{.Letters}} AS d
    ON d.pipeline = {{.Pipeline}} AND d.generation = {{.Generation}} AND {{.Holds "l" "d.key"}} AND d.text_hash = l.{{.Hash}}
WHERE NOT l.deleted
