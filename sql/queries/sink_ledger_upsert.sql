-- A text that could not be encoded is the same text under a new version.
INSERT INTO {{.Ledger}} AS l ({{.Columns ""}}, epoch, lsn, text_hash, deleted)
SELECT {{.Casts "n"}}, $1::bigint, n.lsn::pg_lsn, n.text_hash, n.text_hash IS NULL
FROM unnest($2::text[], $3::bytea[], {{.Arrays 4}}) AS n (lsn, text_hash, {{.Aliases}})
ON CONFLICT ({{.Columns ""}}) DO UPDATE
SET
    epoch = excluded.epoch, lsn = excluded.lsn, text_hash = excluded.text_hash, deleted = excluded.deleted,
    failed_at = CASE WHEN l.text_hash = excluded.text_hash THEN l.failed_at END
WHERE (l.epoch, l.lsn) <= (excluded.epoch, excluded.lsn)
