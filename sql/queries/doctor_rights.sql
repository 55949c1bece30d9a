-- What this role may do with the table ($1: 1), its schema (2) and database (3) besides reading single columns: by ownership (no privileges), or by
-- privileges that it, a role that it is a member of, or everybody (no grantee) was given; and by whom, where that was another
-- role than the owner: of single columns each right by itself, with the columns.
WITH place AS (
    SELECT c.oid, c.relowner, c.relacl, n.nspowner, n.nspacl, d.datdba, d.datacl
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
    WHERE c.oid = $1
), owned AS (
    SELECT 1 AS kind, p.relowner AS owner FROM place AS p
    UNION ALL SELECT 2, p.nspowner FROM place AS p
    UNION ALL SELECT 3, p.datdba FROM place AS p
), granted AS (
    SELECT 1 AS kind, a.grantee, a.grantor, a.privilege_type AS privilege, p.relowner AS owner, NULL::text AS single
    FROM place AS p CROSS JOIN LATERAL pg_catalog.aclexplode(p.relacl) AS a
    UNION ALL
    SELECT 1, a.grantee, a.grantor, a.privilege_type, p.relowner, CASE WHEN a.grantor <> p.relowner THEN c.attname::text END
    FROM place AS p
    JOIN pg_catalog.pg_attribute AS c ON c.attrelid = p.oid AND NOT c.attisdropped
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.attacl) AS a
    WHERE a.privilege_type <> 'SELECT'
    UNION ALL
    SELECT 2, a.grantee, a.grantor, a.privilege_type, p.nspowner, NULL
    FROM place AS p CROSS JOIN LATERAL pg_catalog.aclexplode(p.nspacl) AS a
    WHERE a.privilege_type = 'CREATE'
    UNION ALL
    SELECT 3, a.grantee, a.grantor, a.privilege_type, p.datdba, NULL
    FROM place AS p CROSS JOIN LATERAL pg_catalog.aclexplode(p.datacl) AS a
    WHERE a.privilege_type = 'CREATE'
)
SELECT o.kind, '{}'::text[], pg_catalog.pg_get_userbyid(o.owner)::text, '', '{}'::text[]
FROM owned AS o
WHERE pg_catalog.pg_has_role(o.owner, 'MEMBER')
UNION ALL
SELECT
    g.kind, pg_catalog.array_agg(DISTINCT g.privilege ORDER BY g.privilege),
    CASE WHEN g.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(g.grantee)::text END,
    CASE WHEN g.grantor = g.owner THEN '' ELSE pg_catalog.pg_get_userbyid(g.grantor)::text END,
    coalesce(pg_catalog.array_agg(DISTINCT g.single) FILTER (WHERE g.single IS NOT NULL), '{}')
FROM granted AS g
WHERE g.grantee <> g.owner AND (g.grantee = 0 OR pg_catalog.pg_has_role(g.grantee, 'MEMBER'))
GROUP BY g.kind, g.grantee, g.grantor, g.owner, CASE WHEN g.single IS NOT NULL THEN g.privilege END
ORDER BY 1, 2, 3, 4
