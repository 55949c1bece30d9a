-- What stands against having the table that has a name ($1, $2) altered by this role, which may have more rights than the table's owner: '' for
-- nothing. ALTER TABLE goes on to children. REPLICA IDENTITY ($3) asks a unique index for its expressions and predicate, as the role that alters, and
-- another may get the index's name at any moment; and an index of a partitioned table ($4) looks in each partition for one that is like it, and evaluates
-- those of its indexes for that. The owner's own session runs nothing but the owner's. For CHECKs see source_code.
WITH RECURSIVE named AS (
    SELECT c.oid, c.relkind, pg_catalog.pg_get_userbyid(c.relowner) = SESSION_USER AS own
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2
), relations (oid) AS (
    SELECT n.oid FROM named AS n
    UNION
    SELECT i.inhrelid FROM relations AS r JOIN pg_catalog.pg_inherits AS i ON i.inhparent = r.oid
)
SELECT CASE
    WHEN n.oid IS NULL THEN 'there is no such table'
    WHEN n.relkind NOT IN ('r', 'p') THEN 'it is no table'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = n.oid OR n.relkind = 'r' AND i.inhparent = n.oid)
        THEN 'it has parents or children by inheritance'
    WHEN n.own THEN ''
    WHEN ($3 OR $4 AND n.relkind = 'p') AND EXISTS (
        SELECT
        FROM (
            SELECT pg_catalog.concat(x.indexprs::text, x.indpred::text) AS tree
            FROM pg_catalog.pg_index AS x
            WHERE x.indrelid IN (SELECT r.oid FROM relations AS r) AND (x.indisunique OR $4 AND n.relkind = 'p')
        ) AS t
        CROSS JOIN LATERAL (
            {{query "source_code_parts"}}
        ) AS p
    ) THEN CASE
        WHEN $4 AND n.relkind = 'p' THEN 'a partition has an index that calls functions which are not built in'
        ELSE 'it has a unique index that calls functions which are not built in'
    END
    ELSE ''
END
FROM (VALUES (1)) AS one (row)
LEFT JOIN named AS n ON true
