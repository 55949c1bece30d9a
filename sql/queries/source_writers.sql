-- The transactions that may have changed the table ($1): each keeps its lock until its changes are visible to everybody. Of a partitioned
-- table, its partitions' too. One that has a transaction id is named by it, which it keeps when it is prepared; one without has written nothing yet.
WITH locks AS MATERIALIZED (
    SELECT l.locktype, l.database, l.relation, l.virtualtransaction, l.transactionid, l.mode
    FROM pg_catalog.pg_locks AS l
    WHERE l.granted
)
SELECT DISTINCT coalesce(
    (
        SELECT (pg_catalog.array_agg(x.transactionid::text ORDER BY pg_catalog.age(x.transactionid) DESC))[1] -- before those of its savepoints
        FROM locks AS x
        WHERE x.locktype = 'transactionid' AND x.virtualtransaction = k.virtualtransaction AND x.mode = 'ExclusiveLock'
    ),
    k.virtualtransaction
)
FROM locks AS k
WHERE
    k.locktype = 'relation'
    AND k.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
    AND (
        k.relation = $1::oid
        OR k.relation IN (SELECT p.relid::oid FROM pg_catalog.pg_partition_tree($1::oid::regclass) AS p)
    )
    AND k.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
