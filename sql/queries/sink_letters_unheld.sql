-- Letters of rows that the ledger cannot have. An older version of a row does not take the place of a newer one: the pipeline's row, which each
-- writer holds or shares, keeps the stream and the chunks apart.
WITH again AS (
    UPDATE {{.Letters}} AS d
    SET
        epoch = $2::bigint, lsn = n.lsn::pg_lsn, text_hash = n.text_hash, reason = n.reason, last_at = now(),
        attempts = CASE WHEN d.text_hash = n.text_hash THEN least(d.attempts, 999999999) + 1 ELSE 1 END,
        first_at = CASE WHEN d.text_hash = n.text_hash THEN d.first_at ELSE now() END
    FROM unnest($3::text[], $4::bytea[], $5::text[], {{.Arrays 6}}) AS n (lsn, text_hash, reason, {{.Aliases}})
    WHERE
        d.pipeline = $1 AND d.key = {{.KeyParts "n"}} AND d.generation = {{.Generation}}
        AND (d.epoch, d.lsn) <= ($2::bigint, n.lsn::pg_lsn)
)
INSERT INTO {{.Letters}} (pipeline, key, generation, epoch, lsn, text_hash, reason)
SELECT $1, {{.KeyParts "n"}}, {{.Generation}}, $2::bigint, n.lsn::pg_lsn, n.text_hash, n.reason
FROM unnest($3::text[], $4::bytea[], $5::text[], {{.Arrays 6}}) AS n (lsn, text_hash, reason, {{.Aliases}})
WHERE NOT EXISTS (
    SELECT FROM {{.Letters}} AS d
    WHERE d.pipeline = $1 AND d.key = {{.KeyParts "n"}} AND d.generation = {{.Generation}}
)
ON CONFLICT DO NOTHING
