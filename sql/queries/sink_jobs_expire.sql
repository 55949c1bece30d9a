-- An abandoned backfill would keep tombstones for ever. The lock tells whether a process still holds it.
UPDATE {{.Schema}}.backfill
SET open = false, outcome = 'expired', updated_at = now()
WHERE
    pipeline = $1 AND open AND NOT resync AND updated_at < now() - $2::interval
    AND pg_catalog.pg_try_advisory_xact_lock($3, (id % 2147483647)::integer)
RETURNING id, mode, coalesce(generation, 0)
