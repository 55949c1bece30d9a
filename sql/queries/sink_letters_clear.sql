-- The letters of these keys whose row has gone, has another text, or has its vector. The order of the look-ups is fixed, key by key: the
-- planner may know little of a table that is empty most of the time.
DELETE FROM {{.Letters}}
WHERE ctid = ANY (ARRAY(
    SELECT d.ctid
    FROM unnest({{.Arrays 2}}) AS n ({{.Aliases}})
    JOIN {{.Ledger}} AS l ON {{.Match "l" "n"}}
    CROSS JOIN LATERAL (
        SELECT x.ctid, x.text_hash
        FROM {{.Letters}} AS x
        WHERE x.pipeline = $1 AND x.key = {{.KeyParts "n"}} AND x.generation = {{.Generation}}
        OFFSET 0
    ) AS d
    WHERE
        l.failed_at IS NULL OR l.{{.Hash}} IS DISTINCT FROM d.text_hash
        OR EXISTS (SELECT FROM {{.Vectors}} AS v WHERE {{.Same "v" "l"}} AND v.text_hash = l.{{.Hash}})
))
