-- Who was given rights by an older version, on all tables of the schema ($1), for each pipeline: everybody is the empty name. Of several pipelines
-- a role keeps those whose view it was given; on the others nothing was meant. With it the tables of the pipeline's generations. The catalogue
-- tells which ledgers, vectors and views there are: those roles could write the rows that name them.
WITH ledger AS (
    SELECT l.relnamespace, l.relowner, l.relacl, pg_catalog.substr(l.relname::text, 8) AS name
    FROM pg_catalog.pg_class AS o
    JOIN pg_catalog.pg_namespace AS n ON n.oid = o.relnamespace
    JOIN pg_catalog.pg_class AS l ON l.relnamespace = n.oid AND l.relowner = o.relowner AND l.relkind = 'r' AND l.relname ~ '^ledger_[a-z_][a-z0-9_]{0,39}$'
    WHERE n.nspname = $1 AND o.relname = 'pipeline'
),

vectors AS (
    SELECT l.name, v.oid, v.relname::text AS relation
    FROM ledger AS l
    JOIN pg_catalog.pg_class AS v ON v.relnamespace = l.relnamespace AND v.relowner = l.relowner AND v.relkind = 'r'
    WHERE v.relname ~ ('^vectors_' || l.name || '_[0-9]+$')
)

SELECT
    l.name, coalesce(r.rolname::text, ''), pg_catalog.bool_or(x.privilege_type = 'INSERT'),
    r.oid IS NOT NULL AND EXISTS (SELECT FROM {{.Schema}}.pipeline AS p WHERE p.name = l.name) AND (
        (SELECT pg_catalog.count(*) FROM ledger) = 1
        OR EXISTS (
            SELECT FROM vectors AS v
            JOIN pg_catalog.pg_depend AS d
                ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = v.oid AND d.classid = 'pg_catalog.pg_rewrite'::regclass
            JOIN pg_catalog.pg_rewrite AS w ON w.oid = d.objid
            JOIN pg_catalog.pg_class AS c ON c.oid = w.ev_class AND c.relkind = 'v' AND c.relowner = l.relowner
            CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS y
            WHERE v.name = l.name AND y.grantee = r.oid
        )
    ),
    ARRAY(SELECT v.relation FROM vectors AS v WHERE v.name = l.name ORDER BY v.relation)
FROM ledger AS l
CROSS JOIN LATERAL pg_catalog.aclexplode(l.relacl) AS x
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = x.grantee
WHERE
    x.grantee <> l.relowner
    AND (
        x.grantee = 0
        OR EXISTS (
            SELECT FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS y
            WHERE c.relnamespace = l.relnamespace AND c.relname = 'pipeline' AND y.grantee = x.grantee AND y.privilege_type = 'SELECT'
        )
    )
GROUP BY l.name, l.relowner, r.oid, r.rolname
ORDER BY l.name, r.rolname
