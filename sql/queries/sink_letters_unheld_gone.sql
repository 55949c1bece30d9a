-- Rows that the ledger cannot have, and that have no text any more.
DELETE FROM {{.Letters}} AS d
USING unnest($3::text[], {{.Arrays 4}}) AS n (lsn, {{.Aliases}})
WHERE
    d.pipeline = $1 AND d.key = {{.KeyParts "n"}} AND d.generation = {{.Generation}}
    AND (d.epoch, d.lsn) <= ($2::bigint, n.lsn::pg_lsn)
