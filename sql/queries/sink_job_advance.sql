UPDATE {{.Schema}}.backfill
SET
    cursor = $2, processed = processed + $3, written = written + $4, unchanged = unchanged + $5,
    superseded = superseded + $6, failed = failed + $7, updated_at = now()
WHERE id = $1
