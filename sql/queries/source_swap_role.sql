-- What the role ($4; '' for the owner of the function, or this role where there is none) that the function ($3, its name with schema, quoted) runs as
-- could do beyond what the owner of the table ($1) may, and what it lacks to own function and publication ($2). Who owns the table decides what the
-- function runs into, so nothing beyond its owner's rights may be there. A role that does not exist has nothing. What may stay: functions of this kind,
-- publications, the use of schemas, and CREATE on the database, which is told apart, since only the hand-over needs it. Then comes who could act as it:
-- whether it may log in, and its members with who made them that, but for superusers, this role, and those that have the rights of the table's owner
-- without it, as the admin. ADMIN OPTION alone is as good as any other: who has it can grant itself the rest. Then comes what others gave the role of their
-- own: any role may do that, so it is told, and hinders nothing. Last come the memberships that make it more than the owner, where they are all that
-- does and it is a role that does nothing else.
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
    SELECT s.deptype, s.classid, s.objid, s.objsubid, s.dbid IN (0, d.oid) AS here
    FROM facts AS f
    JOIN pg_catalog.pg_shdepend AS s ON s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = f.oid AND s.deptype IN ('o', 'a')
    JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
    WHERE NOT (
        s.dbid = d.oid
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
), members AS (
    SELECT DISTINCT
        m.rolname::text AS name,
        -- Before 16 a membership is one, whatever role gave it; a superuser's REVOKE is then that of the server's first role.
        CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 160000 AND a.grantor <> 10
            THEN pg_catalog.pg_get_userbyid(a.grantor)::text ELSE '' END AS grantor
    FROM facts AS f
    JOIN pg_catalog.pg_auth_members AS a ON a.roleid = f.oid
    JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
    WHERE f.oid <> f.owner AND NOT f.trusted
        AND NOT m.rolsuper AND m.rolname <> CURRENT_USER AND NOT EXISTS (SELECT FROM without AS w WHERE w.oid = m.oid)
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
            SELECT 'owns ' || pg_catalog.count(*)::text || ' other objects'
            FROM belongings AS b
            WHERE b.deptype = 'o'
            HAVING pg_catalog.count(*) > 0
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
    ARRAY(SELECT m.name FROM members AS m ORDER BY m.grantor = '', m.name, m.grantor),
    ARRAY(SELECT m.grantor FROM members AS m ORDER BY m.grantor = '', m.name, m.grantor),
    -- What others gave it: the object, and what takes it back, as far as that is in this database and of a usual kind.
    CASE WHEN f.oid = f.owner OR f.trusted OR f.rolsuper THEN ARRAY[]::text[] ELSE ARRAY(
        SELECT CASE WHEN b.here THEN pg_catalog.pg_describe_object(b.classid, b.objid, b.objsubid) ELSE 'something in another database' END
        FROM belongings AS b
        WHERE b.deptype = 'a'
        ORDER BY b.classid, b.objid, b.objsubid
        LIMIT 5
    ) END,
    CASE WHEN f.oid = f.owner OR f.trusted OR f.rolsuper THEN ARRAY[]::text[] ELSE ARRAY(
        SELECT CASE
            WHEN i.type = 'default acl' THEN pg_catalog.format(
                'ALTER DEFAULT PRIVILEGES %s REVOKE ALL ON %s FROM %I',
                pg_catalog.regexp_replace(i.identity, ' on [a-z ]+$', ''), pg_catalog.upper(pg_catalog.substring(i.identity, ' on ([a-z ]+)$')), f.name
            )
            WHEN i.type IN ('table', 'view', 'materialized view', 'foreign table', 'table column', 'sequence', 'schema', 'function', 'procedure', 'type')
                THEN pg_catalog.format(
                    'REVOKE ALL ON %s %s FROM %I',
                    CASE WHEN i.type IN ('sequence', 'schema', 'function', 'procedure', 'type') THEN pg_catalog.upper(i.type) ELSE 'TABLE' END,
                    i.identity, f.name
                )
            ELSE ''
        END
        FROM belongings AS b
        LEFT JOIN LATERAL pg_catalog.pg_identify_object(b.classid, b.objid, 0) AS i ON b.here
        WHERE b.deptype = 'a'
        ORDER BY b.classid, b.objid, b.objsubid
        LIMIT 5
    ) END,
    CASE WHEN f.rolcanlogin OR f.oid = f.owner OR f.trusted THEN ARRAY[]::text[] ELSE ARRAY(
        SELECT g.rolname::text
        FROM pg_catalog.pg_auth_members AS a
        JOIN pg_catalog.pg_roles AS g ON g.oid = a.roleid
        WHERE a.member = f.oid AND NOT COALESCE(pg_catalog.pg_has_role(f.owner, g.oid, 'MEMBER'), false)
        ORDER BY g.rolname
    ) END
FROM facts AS f
