UPDATE {{.Schema}}.backfill
SET token = gen_random_uuid(), updated_at = now()
WHERE id = $1 AND open
RETURNING
    mode, coalesce(row_limit, 0), coalesce(generation, 0), resync, token::text, cursor, started_epoch, started_lsn,
    processed, written, unchanged, superseded, failed
