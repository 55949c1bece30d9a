-- What the role ($4; '' for the owner of the function, or this role where there is none) that the function ($3, its name with schema, quoted) runs as
-- could do beyond what the owner of the table ($1) may, and what it lacks to own function and publication ($2). Who owns the table decides what the
-- function runs into, so nothing beyond its owner's rights may be there. A role that does not exist has nothing. What may stay: functions of this kind, in
-- the schema of a table of the owner, with a text that a version of this program wrote ($5 has the fingerprints), for a publication whose owner's rights the role has,
-- and open to roles alone that stream, that read the table for a pipeline ($6), or that deploy/roles.sql made; publications, the use of schemas, and CREATE on the database,
-- on the table's schema and on public, which is told apart, since only the hand-over needs it; and user mappings. Then comes who could act as it:
-- whether it may log in, and its members with who made them that, but for superusers, this role, and those that have the rights of the table's owner
-- without it, as the admin. ADMIN OPTION alone is as good as any other: who has it can grant itself the rest. Then comes what others gave the role of their
-- own, memberships too: any role may do that, so it is told, and hinders nothing. Last come the memberships that make it more than the owner, where they are all that
-- does and it is a role that does nothing else, and the statements that drop what it owns besides.
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
), streaming AS (
    -- On Amazon RDS a membership takes the place of the attribute; a role of that name on another server means nothing.
    SELECT g.oid FROM pg_catalog.pg_roles AS g
    WHERE g.rolsuper OR g.rolreplication OR g.rolname = ANY ($6::text[])
        OR EXISTS (
            SELECT FROM pg_catalog.pg_db_role_setting AS s
            WHERE s.setrole = g.oid AND s.setdatabase = 0 AND 'lo_compat_privileges=off' = ANY (s.setconfig)
        )
        OR EXISTS (
            SELECT FROM pg_catalog.pg_roles AS m
            WHERE m.rolname = 'rds_replication' AND pg_catalog.pg_get_userbyid(10) = 'rdsadmin' AND pg_catalog.pg_has_role(g.oid, m.oid, 'MEMBER')
        )
), written AS (
    -- A function of any other name, place or text may have been left there by who could act as the role once. The one that is asked about is judged by who asks.
    SELECT
        w.oid, w.oid = pg_catalog.to_regprocedure($3 || '()')::oid AS asked, pg_catalog.format('%I.%I()', n.nspname, w.proname) AS named,
        -- Those that neither stream, nor read, nor may act as the role: a stream's role can read each change of the table without the function.
        ARRAY(
            SELECT DISTINCT pg_catalog.quote_ident(g.rolname)
            FROM pg_catalog.aclexplode(w.proacl) AS a
            JOIN pg_catalog.pg_roles AS g ON g.oid = a.grantee
            WHERE g.oid NOT IN (SELECT s.oid FROM streaming AS s) AND NOT pg_catalog.pg_has_role(g.oid, r.oid, 'MEMBER')
            ORDER BY 1
        ) AS callers,
        COALESCE(pg_catalog.pg_has_role(r.oid, p.pubowner, 'USAGE'), false) AS published,
        EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.relnamespace = w.pronamespace AND c.relowner = r.owner AND c.relkind IN ('r', 'p')) AS beside,
        -- A table that is swapped just now is not.
        COALESCE(
            p.puballtables OR EXISTS (
                SELECT FROM pg_catalog.pg_publication_rel AS l
                JOIN pg_catalog.pg_class AS c ON c.oid = l.prrelid
                WHERE l.prpubid = p.oid AND c.relnamespace = w.pronamespace
                    AND pg_catalog.strpos(w.prosrc, E'\n    table_name CONSTANT text := ' || pg_catalog.quote_literal(c.relname) || E';\n') > 0
            ),
            false
        ) AS carried
    FROM facts AS r
    JOIN pg_catalog.pg_proc AS w ON w.proowner = r.oid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = w.pronamespace
    LEFT JOIN pg_catalog.pg_publication AS p
        ON pg_catalog.strpos(w.prosrc, E'\n    publication_name CONSTANT text := ' || pg_catalog.quote_literal(p.pubname) || E';\n') > 0
    WHERE w.oid = pg_catalog.to_regprocedure($3 || '()')::oid
        OR w.proacl IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(w.proacl) AS a WHERE a.grantee = 0)
        AND pg_catalog.starts_with(w.proname::text, 'wal2vec_follow_')
        AND (
            SELECT
                {{query "source_swap_fingerprint"}}
            FROM pg_catalog.pg_proc AS f
            JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
            JOIN pg_catalog.pg_language AS l ON l.oid = f.prolang
            WHERE f.oid = w.oid
        ) = ANY ($5::text[])
), ours AS (
    -- The text says neither whose publication it is nor who may call it.
    SELECT w.oid FROM written AS w WHERE w.asked OR w.beside AND w.published AND w.callers = ARRAY[]::text[]
), odd AS (
    -- What hinders nothing: who may call the function that is asked about is init's to say.
    SELECT
        w.oid, pg_catalog.format('role %s may call function %s, and may not stream', c.name, w.named) AS what,
        pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %s CASCADE', w.named, c.name) AS ends
    FROM written AS w
    CROSS JOIN LATERAL pg_catalog.unnest(w.callers) AS c (name)
    WHERE w.asked
    UNION ALL
    SELECT w.oid, pg_catalog.format('function %s is for a table that its publication does not carry', w.named), 'DROP FUNCTION IF EXISTS ' || w.named
    FROM written AS w
    WHERE NOT w.asked AND w.beside AND w.published AND w.callers = ARRAY[]::text[] AND NOT w.carried
), openings AS (
    -- Where it may make things by a right of its own, and who gave that: '' for the schema's owner, who comes first.
    SELECT DISTINCT n.oid, n.nspname::text AS name, CASE WHEN a.grantor = n.nspowner THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantor)::text END AS giver
    FROM facts AS f
    JOIN pg_catalog.pg_namespace AS n ON n.oid = f.namespace OR n.nspname = 'public'
    CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
    WHERE a.grantee = f.oid AND a.privilege_type = 'CREATE' AND n.nspowner <> f.oid AND f.oid <> f.owner AND NOT f.rolsuper
), belongings AS (
    SELECT s.deptype, s.classid, s.objid, s.objsubid, s.dbid, s.dbid IN (0, d.oid) AS here
    FROM facts AS f
    JOIN pg_catalog.pg_shdepend AS s ON s.refclassid = 'pg_catalog.pg_authid'::regclass AND s.refobjid = f.oid AND s.deptype IN ('o', 'a')
    JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
    WHERE NOT (
        s.dbid = d.oid
        AND (
            s.classid = 'pg_catalog.pg_publication'::regclass
            OR s.classid = 'pg_catalog.pg_proc'::regclass AND s.objid IN (SELECT w.oid FROM ours AS w)
            OR s.deptype = 'a' AND s.classid = 'pg_catalog.pg_namespace'::regclass
            AND (
                NOT pg_catalog.has_schema_privilege(f.oid, s.objid, 'CREATE') OR pg_catalog.has_schema_privilege(f.owner, s.objid, 'CREATE')
                OR s.objid IN (SELECT o.oid FROM openings AS o)
            )
        )
        OR s.classid = 'pg_catalog.pg_database'::regclass AND s.deptype = 'a'
        -- The owner of a foreign server makes them for any role, and they are called that role's. They give it nothing.
        OR s.classid = 'pg_catalog.pg_user_mapping'::regclass
    )
), owned AS (
    SELECT b.classid, b.objid, b.here, b.dbid, i.type, i.identity, pg_catalog.row_number() OVER (ORDER BY NOT b.here, b.classid, b.objid) AS place
    FROM belongings AS b
    LEFT JOIN LATERAL pg_catalog.pg_identify_object(b.classid, b.objid, 0) AS i ON b.here
    WHERE b.deptype = 'o' AND (NOT b.here OR i.identity IS NOT NULL) -- one that is dropped in the meantime is named no more
), memberships AS (
    -- What a role that is no superuser gave, it may give the table's owner as well, since it may grant that role: so it is told, and hinders nothing. No such role
    -- may grant what leads to one of the server's own. Before 16 the server does not keep who gave it.
    SELECT
        a.roleid, g.rolname::text AS name,
        CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 160000 AND a.grantor <> 10
            THEN pg_catalog.pg_get_userbyid(a.grantor)::text ELSE '' END AS grantor,
        pg_catalog.current_setting('server_version_num')::int >= 160000
        AND EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.oid = a.grantor AND NOT r.rolsuper)
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_roles AS r WHERE (r.rolsuper OR r.oid < 16384) AND pg_catalog.pg_has_role(a.roleid, r.oid, 'MEMBER')
        ) AS given
    FROM facts AS f
    JOIN pg_catalog.pg_auth_members AS a ON a.member = f.oid
    JOIN pg_catalog.pg_roles AS g ON g.oid = a.roleid
    WHERE NOT COALESCE(pg_catalog.pg_has_role(f.owner, a.roleid, 'MEMBER'), false)
), without AS (
    SELECT f.owner AS oid FROM facts AS f
    UNION
    SELECT a.member
    FROM without AS w
    JOIN pg_catalog.pg_auth_members AS a ON a.roleid = w.oid
    JOIN facts AS f ON f.oid IS DISTINCT FROM a.member
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
        -- What the function does by the table's name would be done with all rights, and who owns the schema can move that name.
        WHEN f.rolsuper AND EXISTS (
            SELECT
            FROM pg_catalog.pg_namespace AS n
            JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
            JOIN pg_catalog.pg_roles AS w ON w.oid = CASE WHEN n.nspowner = 'pg_database_owner'::regrole THEN d.datdba ELSE n.nspowner END
            WHERE n.oid = f.namespace AND NOT w.rolsuper
        ) THEN ARRAY['is a superuser, and another role owns the schema of the table']
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
            WHERE NOT COALESCE(pg_catalog.pg_has_role(f.owner, g.oid, 'MEMBER'), false)
                AND EXISTS (SELECT FROM memberships AS m WHERE NOT m.given AND pg_catalog.pg_has_role(m.roleid, g.oid, 'MEMBER'))
            ORDER BY g.rolname
        ) || ARRAY(
            SELECT
                CASE
                    WHEN o.place = 4 THEN 'owns ' || (SELECT pg_catalog.count(*) - 3 FROM owned)::text || ' more objects'
                    WHEN o.here THEN 'owns ' || o.type || ' ' || o.identity || COALESCE((
                        SELECT CASE WHEN NOT w.beside THEN ', of a pipeline of another owner'
                            WHEN NOT w.published THEN ', whose publication is not this role''s'
                            ELSE ', which ' || pg_catalog.array_to_string(w.callers, ', ') || ' may call and which may not stream' END
                        FROM written AS w
                        WHERE o.classid = 'pg_catalog.pg_proc'::regclass AND w.oid = o.objid
                    ), '')
                    ELSE pg_catalog.format(
                        'owns %s in database %I (there, this names it: SELECT pg_catalog.pg_describe_object(%s, %s, 0);)',
                        COALESCE(
                            (
                                SELECT k.kind
                                FROM (VALUES
                                    ('pg_class', 'a table, view or sequence'), ('pg_proc', 'a function'), ('pg_namespace', 'a schema'), ('pg_type', 'a type'),
                                    ('pg_publication', 'a publication'), ('pg_default_acl', 'default privileges'), ('pg_largeobject', 'a large object'),
                                    ('pg_foreign_server', 'a foreign server')
                                ) AS k (catalogue, kind)
                                WHERE k.catalogue = c.relname
                            ),
                            'an object of ' || c.relname
                        ),
                        (SELECT d.datname FROM pg_catalog.pg_database AS d WHERE d.oid = o.dbid), o.classid, o.objid
                    )
                END
            FROM owned AS o
            JOIN pg_catalog.pg_class AS c ON c.oid = o.classid
            WHERE o.place <= 4
            ORDER BY o.place
        )
    END,
    -- What is to be given before it can own them. A superuser's ALTER asks for none of it but the membership in the table's owner.
    COALESCE(pg_catalog.pg_has_role(f.oid, f.owner, 'USAGE'), false),
    COALESCE(pg_catalog.pg_has_role(f.oid, 'MEMBER'), false),
    -- A stream takes this role for one that could act as it, where it has the rights of the table's owner by it alone.
    f.trusted OR EXISTS (
        SELECT FROM pg_catalog.pg_roles AS m WHERE m.rolname = CURRENT_USER AND (m.rolsuper OR EXISTS (SELECT FROM without AS w WHERE w.oid = m.oid))
    ),
    COALESCE(f.oid = f.publisher, false)
    OR (SELECT m.rolsuper FROM pg_catalog.pg_roles AS m WHERE m.rolname = CURRENT_USER)
    OR COALESCE(pg_catalog.has_database_privilege(f.oid, pg_catalog.current_database(), 'CREATE'), false),
    (SELECT m.rolsuper FROM pg_catalog.pg_roles AS m WHERE m.rolname = CURRENT_USER)
    OR COALESCE(pg_catalog.has_schema_privilege(f.oid, f.namespace, 'CREATE'), false),
    -- Who gave it CREATE or TEMPORARY: '' for the database's owner, who comes first.
    CASE WHEN f.oid = f.owner OR f.rolsuper THEN ARRAY[]::text[] ELSE ARRAY(
        SELECT DISTINCT CASE WHEN a.grantor = d.datdba THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantor)::text END
        FROM pg_catalog.pg_database AS d
        CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) AS a
        WHERE d.datname = pg_catalog.current_database() AND a.grantee = f.oid AND a.privilege_type IN ('CREATE', 'TEMPORARY')
        ORDER BY 1
    ) END,
    pg_catalog.current_database()::text,
    COALESCE((SELECT n.nspname::text FROM pg_catalog.pg_namespace AS n WHERE n.oid = f.namespace), ''),
    COALESCE(f.rolcanlogin AND f.oid <> f.owner AND NOT f.trusted, false),
    ARRAY(SELECT m.name FROM members AS m ORDER BY m.grantor = '', m.name, m.grantor),
    ARRAY(SELECT m.grantor FROM members AS m ORDER BY m.grantor = '', m.name, m.grantor),
    -- What others gave it: the object, and what takes it back, as far as that is in this database and of a usual kind.
    CASE WHEN f.oid = f.owner OR f.trusted OR f.rolsuper THEN ARRAY[]::text[] ELSE ARRAY(
        SELECT CASE
            WHEN b.here THEN COALESCE(pg_catalog.pg_describe_object(b.classid, b.objid, b.objsubid), 'something that is gone by now')
            ELSE 'something in another database'
        END
        FROM belongings AS b
        WHERE b.deptype = 'a'
        ORDER BY b.classid, b.objid, b.objsubid
        LIMIT 5
    ) || ARRAY(SELECT pg_catalog.format('role %I', m.name) FROM memberships AS m WHERE m.given ORDER BY m.name, m.grantor LIMIT 5) END,
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
    ) || ARRAY(
        SELECT pg_catalog.format('REVOKE %I FROM %I GRANTED BY %I CASCADE', m.name, f.name, m.grantor)
        FROM memberships AS m
        WHERE m.given
        ORDER BY m.name, m.grantor
        LIMIT 5
    ) END,
    CASE WHEN f.rolcanlogin OR f.oid = f.owner OR f.trusted THEN ARRAY[]::text[]
        ELSE ARRAY(SELECT m.name FROM memberships AS m WHERE NOT m.given ORDER BY m.name, m.grantor) END,
    CASE WHEN f.rolcanlogin OR f.oid = f.owner OR f.trusted THEN ARRAY[]::text[]
        ELSE ARRAY(SELECT m.grantor FROM memberships AS m WHERE NOT m.given ORDER BY m.name, m.grantor) END,
    -- What drops its objects, where it is a role that does nothing else, and that serves no other owner: those that another goes with are left out, and what depends
    -- on others comes first.
    CASE
        WHEN f.rolcanlogin OR f.rolsuper OR f.rolcreatedb OR f.rolcreaterole OR f.rolreplication OR f.rolbypassrls OR f.oid = f.owner OR f.trusted
            OR f.name = SESSION_USER
            OR EXISTS (SELECT FROM written AS w WHERE NOT w.asked AND NOT w.beside) OR EXISTS (SELECT FROM memberships AS m WHERE NOT m.given) THEN ARRAY[]::text[]
        ELSE ARRAY(
            SELECT CASE
                WHEN o.type IN ('database', 'tablespace') THEN pg_catalog.format('ALTER %s %s OWNER TO CURRENT_USER', pg_catalog.upper(o.type), o.identity)
                WHEN o.type = 'large object' THEN pg_catalog.format('SELECT pg_catalog.lo_unlink(%s)', o.objid)
                -- Of a pipeline, but for who may call it.
                WHEN EXISTS (SELECT FROM written AS w WHERE w.oid = o.objid AND o.classid = 'pg_catalog.pg_proc'::regclass AND w.published AND w.carried)
                    THEN (
                        SELECT pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %s CASCADE', w.named, pg_catalog.array_to_string(w.callers, ', '))
                        FROM written AS w
                        WHERE w.oid = o.objid
                    )
                WHEN o.type = 'default acl' THEN pg_catalog.format(
                    'ALTER DEFAULT PRIVILEGES %s REVOKE ALL ON %s FROM %s',
                    pg_catalog.regexp_replace(o.identity, ' on [a-z ]+$', ''), pg_catalog.upper(pg_catalog.substring(o.identity, ' on ([a-z ]+)$')),
                    (
                        SELECT COALESCE(pg_catalog.string_agg(DISTINCT CASE
                            WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee))
                        END, ', '), 'PUBLIC')
                        FROM pg_catalog.pg_default_acl AS p
                        CROSS JOIN LATERAL pg_catalog.aclexplode(p.defaclacl) AS a
                        WHERE p.oid = o.objid AND (a.grantee <> p.defaclrole OR p.defaclnamespace <> 0)
                    )
                )
                ELSE pg_catalog.format('DROP %s IF EXISTS %s', CASE o.type WHEN 'statistics object' THEN 'STATISTICS' ELSE pg_catalog.upper(o.type) END, o.identity)
            END
            FROM owned AS o
            WHERE o.here AND o.place <= 100
                AND NOT EXISTS (
                    SELECT
                    FROM pg_catalog.pg_depend AS d
                    JOIN owned AS w ON w.classid = d.refclassid AND w.objid = d.refobjid
                    WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype IN ('a', 'i')
                )
            ORDER BY o.objid DESC
        )
    END,
    -- Whether no stranger can have made it: it is the table's owner; or a superuser marked it, as deploy/roles.sql does; or it has function and publication, with the
    -- rights of the table's owner; or it was made by this role or one that has those rights without it, which the server notes from 16 on by such a membership.
    COALESCE(
        f.oid = f.owner
        OR f.rolsuper
        OR EXISTS (
            SELECT
            FROM pg_catalog.pg_db_role_setting AS s
            WHERE s.setrole = f.oid AND s.setdatabase = 0 AND 'lo_compat_privileges=off' = ANY (s.setconfig)
        )
        OR f.oid = f.publisher AND pg_catalog.pg_has_role(f.oid, f.owner, 'USAGE') AND EXISTS (SELECT FROM written AS w WHERE w.asked)
        OR pg_catalog.current_setting('server_version_num')::int >= 160000
        AND EXISTS (
            SELECT
            FROM pg_catalog.pg_auth_members AS a
            JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
            WHERE a.roleid = f.oid AND a.admin_option AND a.grantor = 10 AND (m.rolname = SESSION_USER OR EXISTS (SELECT FROM without AS w WHERE w.oid = m.oid))
        ),
        false
    ),
    COALESCE(f.oid <> f.owner AND NOT f.trusted AND NOT f.rolsuper AND EXISTS (SELECT FROM owned AS o WHERE NOT o.here), false),
    CASE WHEN f.oid = f.owner OR f.trusted OR f.rolsuper THEN ARRAY[]::text[] ELSE ARRAY(SELECT o.what FROM odd AS o ORDER BY o.oid, o.what) END,
    CASE WHEN f.oid = f.owner OR f.trusted OR f.rolsuper THEN ARRAY[]::text[] ELSE ARRAY(SELECT o.ends FROM odd AS o ORDER BY o.oid, o.what) END,
    ARRAY(SELECT o.name FROM openings AS o ORDER BY o.name, o.giver),
    ARRAY(SELECT o.giver FROM openings AS o ORDER BY o.name, o.giver)
FROM facts AS f
