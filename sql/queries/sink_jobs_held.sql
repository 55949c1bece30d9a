SELECT count(*)
FROM {{.Schema}}.backfill AS b
WHERE b.pipeline = $1 AND b.open AND EXISTS (
    SELECT FROM pg_catalog.pg_locks AS k
    WHERE
        k.locktype = 'advisory' AND k.classid = $2::bigint::oid AND k.objid = (b.id % 2147483647)::oid AND k.objsubid = 2
        AND k.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
)
