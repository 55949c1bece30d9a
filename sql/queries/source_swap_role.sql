-- What the role ($4; '' for the owner of the function, or this role where there is none) that the function ($3, its name with schema, quoted) runs as
-- could do beyond what the owner of the table ($1) may, and what it lacks to own function and publication ($2). Who owns the table decides what the
-- function runs into, so nothing beyond its owner's rights may be there. A role that does not exist has nothing. What may stay: functions of this kind,
-- publications, the use of schemas, and CREATE on the database, which is told apart, since only the hand-over needs it. Last comes who could act as it:
-- whether it may log in, and its members, but for superusers, this role, and those that have the rights of the table's owner without it, as the admin; and
-- the memberships that make it more than the owner, where they are all that does and it is a role that does nothing else.
WITH RECURSIVE role AS (
    SELECT COALESCE(
        NULLIF($4::text, ''),
        (SELECT pg_catalog.pg_get_userbyid(f.proowner)::text FROM pg_catalog.pg_proc AS f WHERE f.oid = pg_catalog.to_regprocedure($3 || '()')),
        CURRENT_USER::text
    ) AS name
), facts AS (
    SELECT r.name, f.*, c.relowner AS owner, c.relnamespace AS namespace, p.pubowner AS publisher, o.rolsuper AS trusted
    FROM role AS r
    LEFT JOIN pg_catalog.pg_roles AS f ON f.rolname = r.name
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = $1
    LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
    LEFT JOIN pg_catalog.pg_publication AS p ON p.pubname = $2
), belongings AS (
    SELECT s.deptype, s.classid, s.objid, s.dbid
    FROM facts AS f
    JOIN pg_catalog.pg_shdepend AS s ON s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = f.oid AND s.deptype IN ('o', 'a')
    WHERE NOT (
        s.dbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
        AND (
            s.classid = 'pg_catalog.pg_publication'::regclass
            OR s.classid = 'pg_catalog.pg_proc'::regclass
            AND EXISTS (SELECT FROM pg_catalog.pg_proc AS w WHERE w.oid = s.objid AND pg_catalog.starts_with(w.proname::text, 'wal2vec_follow_'))
            OR s.classid = 'pg_catalog.pg_proc'::regclass AND s.objid = pg_catalog.to_regprocedure($3 || '()')::oid
            OR s.deptype = 'a' AND s.classid = 'pg_catalog.pg_namespace'::regclass
            AND (NOT pg_catalog.has_schema_privilege(f.oid, s.objid, 'CREATE') OR pg_catalog.has_schema_privilege(f.owner, s.objid, 'CREATE'))
        )
        OR s.classid = 'pg_catalog.pg_database'::regclass AND s.deptype = 'a'
    )
), without AS (
    SELECT f.owner AS oid FROM facts AS f
    UNION
    SELECT a.member
    FROM without AS w
    JOIN pg_catalog.pg_auth_members AS a ON a.roleid = w.oid
    JOIN facts AS f ON f.oid <> a.member
)
SELECT
    f.name,
    f.oid IS NOT NULL,
    COALESCE(pg_catalog.pg_get_userbyid(f.owner)::text, ''),
    COALESCE(pg_catalog.pg_get_userbyid(f.publisher)::text, ''),
    CURRENT_USER::text,
    CASE
        WHEN f.oid IS NULL OR f.oid = f.owner OR f.trusted THEN ARRAY[]::text[]
        WHEN f.rolsuper THEN ARRAY['is a superuser']
        ELSE ARRAY(
            SELECT 'has ' || a.name
            FROM (VALUES (f.rolcreatedb, 'CREATEDB'), (f.rolcreaterole, 'CREATEROLE'), (f.rolreplication, 'REPLICATION'), (f.rolbypassrls, 'BYPASSRLS'))
                AS a (has, name)
            WHERE a.has
        ) || ARRAY(
            SELECT 'is a member of ' || pg_catalog.quote_ident(g.rolname)
            FROM pg_catalog.pg_roles AS g
            WHERE g.oid <> f.oid AND pg_catalog.pg_has_role(f.oid, g.oid, 'MEMBER') AND NOT COALESCE(pg_catalog.pg_has_role(f.owner, g.oid, 'MEMBER'), false)
            ORDER BY g.rolname
        ) || ARRAY(
            SELECT CASE b.deptype WHEN 'o' THEN 'owns ' ELSE 'has rights to ' END || pg_catalog.count(*)::text || ' other objects'
            FROM belongings AS b
            GROUP BY b.deptype
            ORDER BY b.deptype DESC
        )
    END,
    -- What is to be given before it can own them. A superuser's ALTER asks for none of it but the membership in the table's owner.
    COALESCE(pg_catalog.pg_has_role(f.oid, f.owner, 'USAGE'), false),
    COALESCE(pg_catalog.pg_has_role(f.oid, 'MEMBER'), false),
    COALESCE(f.oid = f.publisher, false)
    OR (SELECT m.rolsuper FROM pg_catalog.pg_roles AS m WHERE m.rolname = CURRENT_USER)
    OR COALESCE(pg_catalog.has_database_privilege(f.oid, pg_catalog.current_database(), 'CREATE'), false),
    COALESCE(pg_catalog.has_schema_privilege(f.oid, f.namespace, 'CREATE'), false),
    COALESCE(
        f.oid <> f.owner
        AND NOT f.rolsuper
        AND EXISTS (
            SELECT
            FROM pg_catalog.pg_database AS d
            CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) AS a
            WHERE d.datname = pg_catalog.current_database() AND a.grantee = f.oid AND a.privilege_type IN ('CREATE', 'TEMPORARY')
        ),
        false
    ),
    pg_catalog.current_database()::text,
    COALESCE((SELECT n.nspname::text FROM pg_catalog.pg_namespace AS n WHERE n.oid = f.namespace), ''),
    COALESCE(f.rolcanlogin AND f.oid <> f.owner AND NOT f.trusted, false),
    CASE WHEN f.oid = f.owner OR f.trusted THEN ARRAY[]::text[] ELSE ARRAY(
        SELECT m.rolname::text
        FROM pg_catalog.pg_auth_members AS a
        JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
        WHERE a.roleid = f.oid AND NOT m.rolsuper AND m.rolname <> CURRENT_USER AND NOT EXISTS (SELECT FROM without AS w WHERE w.oid = m.oid)
          -- Who makes a role without being a superuser may grant it from then on, and no more.
          AND (
              COALESCE((pg_catalog.to_jsonb(a) ->> 'set_option')::boolean, true)
              OR COALESCE((pg_catalog.to_jsonb(a) ->> 'inherit_option')::boolean, true)
          )
        ORDER BY m.rolname
    ) END,
    CASE WHEN f.rolcanlogin OR f.oid = f.owner OR f.trusted THEN ARRAY[]::text[] ELSE ARRAY(
        SELECT g.rolname::text
        FROM pg_catalog.pg_auth_members AS a
        JOIN pg_catalog.pg_roles AS g ON g.oid = a.roleid
        WHERE a.member = f.oid AND NOT COALESCE(pg_catalog.pg_has_role(f.owner, g.oid, 'MEMBER'), false)
        ORDER BY g.rolname
    ) END
FROM facts AS f
