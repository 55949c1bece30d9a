-- The counts are those of the rows up to the cursor, written by any process.
UPDATE {{.Schema}}.backfill
SET cursor = $2, processed = $3, written = $4, unchanged = $5, superseded = $6, failed = $7, updated_at = now()
WHERE id = $1
