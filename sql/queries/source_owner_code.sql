-- Functions that the server calls, with the rights of whoever reads the table ($1, $2), while it plans the read: those in predicates and expressions
-- of indexes, in statistics, CHECKs and partition keys. With $3 also those that it calls for who writes a row. What is built in has no entry in
-- pg_depend; a function of this role's own, or of a superuser (extensions), is as good. One row each: where it stands, the function, its owner.
WITH RECURSIVE named AS (
    SELECT c.oid, c.relkind
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1
      AND c.relname = $2
), relations (oid) AS (
    SELECT n.oid FROM named AS n
    UNION
    SELECT p.relid::oid FROM named AS n CROSS JOIN LATERAL pg_catalog.pg_partition_tree(n.oid::regclass) AS p WHERE n.relkind = 'p'
), types (oid) AS (
    SELECT a.atttypid
    FROM relations AS r
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid
    WHERE $3 AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT part.oid
    FROM types AS t
    CROSS JOIN LATERAL (
        SELECT p.typelem AS oid FROM pg_catalog.pg_type AS p WHERE p.oid = t.oid
        UNION ALL
        SELECT p.typbasetype FROM pg_catalog.pg_type AS p WHERE p.oid = t.oid
        UNION ALL
        SELECT a.atttypid
        FROM pg_catalog.pg_type AS p
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.typrelid
        WHERE p.oid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS part
    WHERE part.oid <> 0
), places (classid, objid, name) AS (
    SELECT 'pg_catalog.pg_class'::regclass, i.indexrelid, 'index ' || pg_catalog.quote_ident(c.relname)
    FROM relations AS r
    JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    UNION ALL
    SELECT 'pg_catalog.pg_statistic_ext'::regclass, s.oid, 'statistics ' || pg_catalog.quote_ident(s.stxname)
    FROM relations AS r
    JOIN pg_catalog.pg_statistic_ext AS s ON s.stxrelid = r.oid
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::regclass, k.oid, 'constraint ' || pg_catalog.quote_ident(k.conname)
    FROM relations AS r
    JOIN pg_catalog.pg_constraint AS k ON k.conrelid = r.oid
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, c.oid, 'partition key of ' || pg_catalog.quote_ident(c.relname)
    FROM relations AS r
    JOIN pg_catalog.pg_class AS c ON c.oid = r.oid
    UNION ALL
    SELECT 'pg_catalog.pg_policy'::regclass, p.oid, 'policy ' || pg_catalog.quote_ident(p.polname)
    FROM relations AS r
    JOIN pg_catalog.pg_policy AS p ON p.polrelid = r.oid
    WHERE $3
    UNION ALL
    SELECT 'pg_catalog.pg_attrdef'::regclass, d.oid, 'value of column ' || pg_catalog.quote_ident(a.attname)
    FROM relations AS r
    JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = r.oid
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE $3
    UNION ALL
    SELECT 'pg_catalog.pg_trigger'::regclass, g.oid, 'trigger ' || pg_catalog.quote_ident(g.tgname)
    FROM relations AS r
    JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = r.oid
    WHERE $3
    UNION ALL
    SELECT 'pg_catalog.pg_rewrite'::regclass, w.oid, 'rule ' || pg_catalog.quote_ident(w.rulename)
    FROM relations AS r
    JOIN pg_catalog.pg_rewrite AS w ON w.ev_class = r.oid
    WHERE $3
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::regclass, k.oid, 'constraint ' || pg_catalog.quote_ident(k.conname) || ' of domain ' || pg_catalog.quote_ident(d.typname)
    FROM types AS t
    JOIN pg_catalog.pg_type AS d ON d.oid = t.oid
    JOIN pg_catalog.pg_constraint AS k ON k.contypid = d.oid
)
SELECT DISTINCT
    p.name,
    pg_catalog.format('%I.%I(%s)', n.nspname, f.proname, pg_catalog.pg_get_function_identity_arguments(f.oid)),
    pg_catalog.quote_ident(o.rolname)
FROM places AS p
JOIN pg_catalog.pg_depend AS d ON d.classid = p.classid AND d.objid = p.objid
LEFT JOIN pg_catalog.pg_operator AS op ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND op.oid = d.refobjid
JOIN pg_catalog.pg_proc AS f ON f.oid = CASE WHEN d.refclassid = 'pg_catalog.pg_proc'::regclass THEN d.refobjid ELSE op.oprcode::oid END
JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
JOIN pg_catalog.pg_roles AS o ON o.oid = f.proowner
WHERE NOT o.rolsuper
  AND o.rolname <> SESSION_USER
ORDER BY 1, 2
LIMIT 20
