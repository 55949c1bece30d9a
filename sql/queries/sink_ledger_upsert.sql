-- A text that could not be encoded is the same text under a new version. One array of hashes comes for each template. The transaction has looked at the
-- pipeline's row, and keeps it: no commit has brought a version above its epoch ($1) and position ($2), so a row of one was written by other means, and
-- gives way.
INSERT INTO {{.Ledger}} AS l ({{.Columns ""}}, epoch, lsn{{range .Hashes}}, {{.}}{{end}}, deleted)
SELECT {{.Casts "n"}}, $1::bigint, n.lsn::pg_lsn{{range $i, $h := .Hashes}}, n.hash{{inc $i}}{{end}}, n.hash1 IS NULL
FROM unnest($3::text[]{{range $i, $h := .Hashes}}, ${{add 4 $i}}::bytea[]{{end}}, {{.Arrays .FirstKey}})
    AS n (lsn{{range $i, $h := .Hashes}}, hash{{inc $i}}{{end}}, {{.Aliases}})
ON CONFLICT ({{.Columns ""}}) DO UPDATE
SET
    epoch = excluded.epoch, lsn = excluded.lsn{{range .Hashes}}, {{.}} = excluded.{{.}}{{end}}, deleted = excluded.deleted,
    failed_at = CASE WHEN {{range $i, $h := .Hashes}}{{if $i}} OR {{end}}l.{{$h}} = excluded.{{$h}}{{end}} THEN l.failed_at END
WHERE (l.epoch, l.lsn) <= (excluded.epoch, excluded.lsn)
    OR (l.epoch, l.lsn) > ($1::bigint, $2::pg_lsn)
