-- The transactions that may have changed the table ($1): each keeps its lock until its changes are visible to everybody. Of a partitioned
-- table, its partitions' too.
SELECT DISTINCT k.virtualtransaction
FROM pg_catalog.pg_locks AS k
WHERE
    k.locktype = 'relation'
    AND k.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
    AND (
        k.relation = $1::oid
        OR k.relation IN (SELECT p.relid::oid FROM pg_catalog.pg_partition_tree($1::oid::regclass) AS p)
    )
    AND k.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    AND k.granted
