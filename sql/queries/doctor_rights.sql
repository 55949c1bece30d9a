-- What this role may do with the table ($1), its schema and database besides reading single columns: by ownership (no privileges), or by
-- privileges that it, a role that it is a member of, or everybody (no grantee) was given. The names of things are quoted, those of roles are not.
WITH place AS (
    SELECT c.oid, c.relowner, c.relacl, n.oid AS nsp, n.nspowner, n.nspacl, d.oid AS db, d.datdba, d.datacl,
        pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, pg_catalog.format('%I', n.nspname) AS schema, pg_catalog.format('%I', d.datname) AS database
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
    WHERE c.oid = $1
), owned AS (
    SELECT 1 AS rank, 'TABLE' AS kind, p.name AS object, p.relowner AS owner FROM place AS p
    UNION ALL SELECT 2, 'SCHEMA', p.schema, p.nspowner FROM place AS p
    UNION ALL SELECT 3, 'DATABASE', p.database, p.datdba FROM place AS p
), granted AS (
    SELECT 4 AS rank, 'TABLE' AS kind, p.name AS object, a.grantee, a.privilege_type AS privilege, p.relowner AS owner
    FROM place AS p CROSS JOIN LATERAL pg_catalog.aclexplode(p.relacl) AS a
    UNION ALL
    SELECT 5, 'TABLE', p.name, a.grantee, pg_catalog.format('%s (%I)', a.privilege_type, c.attname), p.relowner
    FROM place AS p
    JOIN pg_catalog.pg_attribute AS c ON c.attrelid = p.oid AND NOT c.attisdropped
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.attacl) AS a
    WHERE a.privilege_type <> 'SELECT'
    UNION ALL
    SELECT 6, 'SCHEMA', p.schema, a.grantee, a.privilege_type, p.nspowner
    FROM place AS p CROSS JOIN LATERAL pg_catalog.aclexplode(p.nspacl) AS a
    WHERE a.privilege_type = 'CREATE'
    UNION ALL
    SELECT 7, 'DATABASE', p.database, a.grantee, a.privilege_type, p.datdba
    FROM place AS p CROSS JOIN LATERAL pg_catalog.aclexplode(p.datacl) AS a
    WHERE a.privilege_type = 'CREATE'
)
SELECT o.kind, o.object, '', pg_catalog.pg_get_userbyid(o.owner)::text, o.rank
FROM owned AS o
WHERE pg_catalog.pg_has_role(o.owner, 'MEMBER')
UNION ALL
SELECT
    g.kind, g.object, pg_catalog.string_agg(g.privilege, ', ' ORDER BY g.privilege),
    CASE WHEN g.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(g.grantee)::text END, g.rank
FROM granted AS g
WHERE g.grantee <> g.owner AND (g.grantee = 0 OR pg_catalog.pg_has_role(g.grantee, 'MEMBER'))
GROUP BY g.kind, g.object, g.grantee, g.rank
ORDER BY 5, 4
