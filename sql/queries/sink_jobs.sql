-- A job is under way while a process holds it, and for a while after anything happened to it.
SELECT
    b.id, b.mode, coalesce(b.generation, 0), coalesce(b.row_limit, 0), b.resync, b.swap, b.started_epoch, b.started_lsn, b.processed, b.created_at, b.updated_at,
    b.updated_at > now() - $3::interval OR EXISTS (
        SELECT FROM pg_catalog.pg_locks AS k
        WHERE
            k.locktype = 'advisory' AND k.classid = $2::bigint::oid AND k.objid = (b.id % 2147483647)::oid AND k.objsubid = 2
            AND k.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
    )
FROM {{.Schema}}.backfill AS b
WHERE b.pipeline = $1 AND b.open
ORDER BY b.id
