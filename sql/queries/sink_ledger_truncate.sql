UPDATE {{.Ledger}}
SET epoch = $1, lsn = $2::pg_lsn{{range .Hashes}}, {{.}} = NULL{{end}}, deleted = true, failed_at = NULL
WHERE NOT deleted AND ((epoch, lsn) <= ($1::bigint, $2::pg_lsn) OR epoch > $1::bigint)
