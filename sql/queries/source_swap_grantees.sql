-- The function ($3, its name with schema, quoted) as it is: whose it is, whether that is the owner of the table ($1), of the publication ($2) or
-- this role or one that this was made a member of and that may act as the table's owner (any role can make this one a member of itself), what it does, and whom its owner lets call it; PUBLIC is told apart, since a role may have that name. Last:
-- whether it runs as its owner, its language, its settings, and whether one who may call it may pass that on or has it from another than the owner, and who that is.
-- No row where there is none.
SELECT
    pg_catalog.pg_get_userbyid(f.proowner)::text,
    f.proowner = (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = SESSION_USER)
    OR f.proowner IN (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = $1)
    OR f.proowner IN (SELECT p.pubowner FROM pg_catalog.pg_publication AS p WHERE p.pubname = $2)
    OR EXISTS (
        SELECT
        FROM pg_catalog.pg_auth_members AS m
        JOIN pg_catalog.pg_roles AS r ON r.oid = m.member
        WHERE m.roleid = f.proowner AND r.rolname = SESSION_USER
            AND pg_catalog.pg_has_role(f.proowner, (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = $1), 'USAGE')
    ),
    f.prosrc,
    f.proacl IS NULL OR EXISTS (SELECT FROM pg_catalog.aclexplode(f.proacl) AS a WHERE a.grantee = 0),
    ARRAY(
        SELECT DISTINCT pg_catalog.pg_get_userbyid(a.grantee)::text
        FROM pg_catalog.aclexplode(f.proacl) AS a
        WHERE a.grantor = f.proowner AND a.grantee NOT IN (0, f.proowner)
        ORDER BY 1
    ),
    f.prosecdef,
    l.lanname::text,
    COALESCE(f.proconfig, ARRAY[]::text[]),
    EXISTS (
        SELECT FROM pg_catalog.aclexplode(f.proacl) AS a WHERE a.grantee <> f.proowner AND (a.is_grantable OR a.grantor <> f.proowner)
    ),
    ARRAY(
        SELECT DISTINCT pg_catalog.pg_get_userbyid(a.grantee)::text
        FROM pg_catalog.aclexplode(f.proacl) AS a
        WHERE a.grantor <> f.proowner AND a.grantee NOT IN (0, f.proowner)
        ORDER BY 1
    )
FROM pg_catalog.pg_proc AS f
JOIN pg_catalog.pg_language AS l ON l.oid = f.prolang
WHERE f.oid = pg_catalog.to_regprocedure($3 || '()')
