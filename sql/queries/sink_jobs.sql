SELECT id, mode, coalesce(generation, 0), coalesce(row_limit, 0), resync, started_epoch, started_lsn, processed, created_at, updated_at
FROM {{.Schema}}.backfill
WHERE pipeline = $1 AND open
ORDER BY id
