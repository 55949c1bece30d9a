-- The function ($3, its name with schema, quoted) as it is: whose it is; whether that is the owner of the table ($1), of the publication ($2), this role, or the one that
-- is to have it ($4; '' for none), and no other, since any role can make itself what this one is a member of; whether its callers are those that init named: where it is to
-- be handed over, only those of this role's or that one's are; whether its owner has the rights of the table's owner; what it does, and whom its owner lets call it; PUBLIC is
-- told apart, since a role may have that name. Last:
-- whether it runs as its owner, its language, its settings, and whether one who may call it may pass that on or has it from another than the owner, and who that is.
-- No row where there is none.
SELECT
    pg_catalog.pg_get_userbyid(f.proowner)::text,
    o.rolname IN (SESSION_USER, $4::text)
    OR f.proowner IN (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = $1)
    OR f.proowner IN (SELECT p.pubowner FROM pg_catalog.pg_publication AS p WHERE p.pubname = $2),
    $4::text = '' OR o.rolname IN (SESSION_USER, $4::text),
    COALESCE(pg_catalog.pg_has_role(f.proowner, (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = $1), 'USAGE'), false),
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
JOIN pg_catalog.pg_roles AS o ON o.oid = f.proowner
WHERE f.oid = pg_catalog.to_regprocedure($3 || '()')
