-- What may run with the rights of the role that updates a row of a table ($1), and is not built in, though the role is not the table's owner: one
-- name at most, none where the role is not one whose rights are worth having: a superuser's, or those of the owner of wal2vec's tables ($2).
SELECT found.what
FROM pg_catalog.pg_class AS c
CROSS JOIN LATERAL (
    SELECT 'trigger ' || pg_catalog.quote_ident(t.tgname) AS what, 1 AS place
    FROM pg_catalog.pg_trigger AS t
    WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) AS p UNION ALL SELECT c.oid)
    UNION ALL
    SELECT 'rule ' || pg_catalog.quote_ident(r.rulename), 2
    FROM pg_catalog.pg_rewrite AS r
    WHERE r.ev_class = c.oid AND r.ev_type = '2'
    UNION ALL
    SELECT 'row policy ' || pg_catalog.quote_ident(l.polname), 3
    FROM pg_catalog.pg_policy AS l
    WHERE l.polrelid = c.oid
    UNION ALL
    -- What is built in has no entry in pg_depend. A generated column is computed again, an index or a CHECK evaluated.
    SELECT 'function ' || pg_catalog.quote_ident(f.proname), 4
    FROM pg_catalog.pg_depend AS d
    LEFT JOIN pg_catalog.pg_operator AS o ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.refobjid
    JOIN pg_catalog.pg_proc AS f ON f.oid = CASE d.refclassid WHEN 'pg_catalog.pg_proc'::regclass THEN d.refobjid ELSE o.oprcode::oid END
    WHERE
        (
            d.classid = 'pg_catalog.pg_constraint'::regclass AND d.objid IN (
                SELECT k.oid FROM pg_catalog.pg_constraint AS k
                WHERE k.conrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) AS p UNION ALL SELECT c.oid)
                    OR k.contypid IN (SELECT a.atttypid FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid)
            )
        ) OR (
            d.classid = 'pg_catalog.pg_class'::regclass AND d.objid IN (
                SELECT i.indexrelid FROM pg_catalog.pg_index AS i
                WHERE i.indrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) AS p UNION ALL SELECT c.oid)
            )
        ) OR (
            d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid IN (SELECT e.oid FROM pg_catalog.pg_attrdef AS e WHERE e.adrelid = c.oid)
        )
) AS found
JOIN pg_catalog.pg_roles AS me ON me.rolname = CURRENT_USER
WHERE
    c.oid = $1::text::regclass
    AND c.relowner <> me.oid
    AND (me.rolsuper OR $2::boolean)
ORDER BY found.place, found.what
LIMIT 1
