-- Who was given rights by an older version, on all tables of the schema ($1), for each pipeline: everybody is the empty name. Of several pipelines
-- a role keeps those whose view it was given; on the others nothing was meant. With it the tables of the pipeline's generations.
SELECT
    p.name, coalesce(r.rolname::text, ''), pg_catalog.bool_or(x.privilege_type = 'INSERT'),
    r.oid IS NOT NULL AND (
        (SELECT pg_catalog.count(*) FROM {{.Schema}}.pipeline) = 1
        OR EXISTS (
            SELECT FROM pg_catalog.pg_class AS v
            JOIN pg_catalog.pg_namespace AS n ON n.oid = v.relnamespace
            CROSS JOIN LATERAL pg_catalog.aclexplode(v.relacl) AS y
            WHERE n.nspname = p.view_schema AND v.relname = p.view_name AND y.grantee = r.oid
        )
    ),
    ARRAY(
        SELECT g.vector_table
        FROM {{.Schema}}.generation AS g
        WHERE g.pipeline = p.name AND g.state <> 'retired' AND g.vector_table = pg_catalog.format('vectors_%s_%s', p.name, g.id)
        ORDER BY g.id
    )
FROM {{.Schema}}.pipeline AS p
JOIN pg_catalog.pg_class AS l ON l.oid = pg_catalog.to_regclass(pg_catalog.format('%I.ledger_%s', $1::text, p.name))
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
GROUP BY p.name, p.view_schema, p.view_name, r.oid, r.rolname
ORDER BY p.name, r.rolname
