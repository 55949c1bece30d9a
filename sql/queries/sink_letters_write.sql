-- As for vectors, the ledger decides: its row is live with this text, written by any process, and the generation lacks the text's vector. The ledger's rows
-- were locked by the statements before, so no other process writes letters of these keys, and each that is there is seen.
WITH failed AS (
    UPDATE {{.Ledger}} AS l
    SET failed_at = now()
    FROM unnest($2::bytea[], $3::text[], {{.Arrays 4}}) AS n (text_hash, reason, {{.Aliases}})
    WHERE
        {{.Match "l" "n"}} AND NOT l.deleted AND l.{{.Hash}} = n.text_hash
        AND NOT EXISTS (SELECT FROM {{.Vectors}} AS v WHERE {{.Same "v" "l"}} AND v.text_hash = l.{{.Hash}})
    RETURNING {{.KeyParts "n"}} AS key, l.epoch, l.lsn, n.text_hash, left(n.reason, 4000) AS reason
), again AS (
    UPDATE {{.Letters}} AS d
    SET
        epoch = f.epoch, lsn = f.lsn, text_hash = f.text_hash, reason = f.reason, last_at = now(),
        attempts = CASE WHEN d.text_hash = f.text_hash THEN least(d.attempts, 999999999) + 1 ELSE 1 END,
        first_at = CASE WHEN d.text_hash = f.text_hash THEN d.first_at ELSE now() END
    FROM failed AS f
    WHERE d.pipeline = $1 AND d.key = f.key AND d.generation = {{.Generation}}
    RETURNING d.key
), another AS (
    INSERT INTO {{.Letters}} (pipeline, key, generation, epoch, lsn, text_hash, reason)
    SELECT $1, f.key, {{.Generation}}, f.epoch, f.lsn, f.text_hash, f.reason
    FROM failed AS f
    WHERE NOT EXISTS (SELECT FROM again AS a WHERE a.key = f.key)
)
SELECT 1 FROM failed
