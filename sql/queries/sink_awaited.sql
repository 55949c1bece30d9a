-- Both who waits for the watermark and who holds a backfill hold an advisory lock.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_locks AS k
    WHERE
        k.locktype = 'advisory' AND k.objsubid = 2
        AND k.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
        AND (
            (k.classid = $2::bigint::oid AND k.objid = $3::bigint::oid)
            OR (
                k.classid = $4::bigint::oid
                AND EXISTS (SELECT FROM {{.Schema}}.backfill AS b WHERE b.pipeline = $1 AND b.open AND k.objid = (b.id % 2147483647)::oid)
            )
        )
)
