-- As for vectors, the ledger decides: its row is live with this text, whoever wrote it, and the generation lacks the text's vector. A key that
-- fills an index entry of the source leaves no room for what else is in the letters' one (2,704 bytes): its row has no letter, and lacks its vector.
WITH failed AS (
    UPDATE {{.Ledger}} AS l
    SET failed_at = now()
    FROM unnest($2::bytea[], $3::text[], {{.Arrays 4}}) AS n (text_hash, reason, {{.Aliases}})
    WHERE
        {{.Match "l" "n"}} AND NOT l.deleted AND l.{{.Hash}} = n.text_hash
        AND NOT EXISTS (SELECT FROM {{.Vectors}} AS v WHERE {{.Same "v" "l"}} AND v.text_hash = l.{{.Hash}})
    RETURNING {{.KeyParts "n"}} AS key, l.epoch, l.lsn, n.text_hash, n.reason
)
INSERT INTO {{.Letters}} AS d (pipeline, key, generation, epoch, lsn, text_hash, reason)
SELECT $1, f.key, {{.Generation}}, f.epoch, f.lsn, f.text_hash, left(f.reason, 4000)
FROM failed AS f
WHERE pg_column_size(f.key) <= 2600
ON CONFLICT (pipeline, key, generation) DO UPDATE
SET
    epoch = excluded.epoch, lsn = excluded.lsn, text_hash = excluded.text_hash, reason = excluded.reason,
    attempts = CASE WHEN d.text_hash = excluded.text_hash THEN least(d.attempts, 999999999) + 1 ELSE 1 END,
    first_at = CASE WHEN d.text_hash = excluded.text_hash THEN d.first_at ELSE excluded.first_at END,
    last_at = excluded.last_at
