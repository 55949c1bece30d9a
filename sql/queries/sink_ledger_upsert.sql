-- A text that could not be encoded is the same text under a new version. One array of hashes comes for each template.
INSERT INTO {{.Ledger}} AS l ({{.Columns ""}}, epoch, lsn{{range .Hashes}}, {{.}}{{end}}, deleted)
SELECT {{.Casts "n"}}, $1::bigint, n.lsn::pg_lsn{{range $i, $h := .Hashes}}, n.hash{{inc $i}}{{end}}, n.hash1 IS NULL
FROM unnest($2::text[]{{range $i, $h := .Hashes}}, ${{add 3 $i}}::bytea[]{{end}}, {{.Arrays .FirstKey}})
    AS n (lsn{{range $i, $h := .Hashes}}, hash{{inc $i}}{{end}}, {{.Aliases}})
ON CONFLICT ({{.Columns ""}}) DO UPDATE
SET
    epoch = excluded.epoch, lsn = excluded.lsn{{range .Hashes}}, {{.}} = excluded.{{.}}{{end}}, deleted = excluded.deleted,
    failed_at = CASE WHEN {{range $i, $h := .Hashes}}{{if $i}} OR {{end}}l.{{$h}} = excluded.{{$h}}{{end}} THEN l.failed_at END
WHERE (l.epoch, l.lsn) <= (excluded.epoch, excluded.lsn)
