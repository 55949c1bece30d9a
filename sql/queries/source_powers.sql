-- What code that runs with the rights of this session could do that no read-only transaction keeps it from, the worst first; no row where that is
-- nothing. How, and the name of what gives it: of a superuser; of a role that runs programs on the server, reaches its files, sees what other sessions
-- send and what passwords the server's settings and catalogues hold, ends any session or locks any table; of a role that may replicate, by which a function makes a slot and reads every change of the database. And from PostgreSQL 18 on, where the session came by SCRAM, postgres_fdw and dblink have the server log
-- in again with the session's own keys, where options of a foreign server or of a user mapping say so: that session is not read-only. Whose mapping counts is
-- who the function runs as, which any role may have made. Any role makes such a server that may use a foreign-data wrapper, or could when it made one, and
-- such a mapping that may use the server; who gives that is a superuser, or a server's owner, so that this answer does not age as code does.
-- Roles that could act as this one anyway are left out.
SELECT p.kind, p.name, p.role
FROM (
    SELECT 1 AS rank, CASE WHEN r.rolname = SESSION_USER THEN 'superuser' ELSE 'member' END AS kind, pg_catalog.quote_ident(r.rolname) AS name, '' AS role
    FROM pg_catalog.pg_roles AS r
    WHERE (
        r.rolsuper
        OR r.rolname IN (
            'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_read_all_stats', 'pg_read_all_settings', 'pg_monitor',
            'pg_read_all_data', 'pg_write_all_data', 'pg_maintain', 'pg_signal_backend'
        )
    ) AND pg_catalog.pg_has_role(SESSION_USER, r.oid, 'MEMBER')
    UNION ALL
    SELECT 2, 'replication', CASE WHEN r.rolname = SESSION_USER THEN '' ELSE pg_catalog.quote_ident(r.rolname) END, ''
    FROM pg_catalog.pg_roles AS r
    -- On Amazon RDS a membership takes the place of the attribute; a role of that name on another server means nothing.
    WHERE (r.rolreplication OR r.rolname = 'rds_replication' AND pg_catalog.pg_get_userbyid(10) = 'rdsadmin') AND pg_catalog.pg_has_role(SESSION_USER, r.oid, 'MEMBER')
    UNION ALL
    SELECT 3, f.kind, f.name, f.role
    -- Before 16, where it is no word of SQL, system_user is this column.
    FROM (VALUES (NULL::text)) AS came ("system_user")
    CROSS JOIN LATERAL (
        SELECT
            'wrapper' AS kind, pg_catalog.quote_ident(w.fdwname) AS name,
            CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END AS role
        FROM pg_catalog.pg_foreign_data_wrapper AS w
        CROSS JOIN LATERAL pg_catalog.aclexplode(COALESCE(w.fdwacl, pg_catalog.acldefault('F', w.fdwowner))) AS a
        WHERE CASE WHEN a.grantee = 0 THEN true ELSE NOT pg_catalog.pg_has_role(a.grantee, SESSION_USER, 'MEMBER') END
        UNION ALL
        SELECT 'server', pg_catalog.quote_ident(s.srvname), pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(s.srvowner))
        FROM pg_catalog.pg_foreign_server AS s
        WHERE NOT pg_catalog.pg_has_role(s.srvowner, SESSION_USER, 'MEMBER')
        UNION ALL
        SELECT 'usage', pg_catalog.quote_ident(s.srvname), CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END
        FROM pg_catalog.pg_foreign_server AS s
        CROSS JOIN LATERAL pg_catalog.aclexplode(s.srvacl) AS a
        WHERE a.grantee <> s.srvowner AND CASE WHEN a.grantee = 0 THEN true ELSE NOT pg_catalog.pg_has_role(a.grantee, SESSION_USER, 'MEMBER') END
        UNION ALL
        SELECT 'option', pg_catalog.quote_ident(s.srvname), pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(s.srvowner))
        FROM pg_catalog.pg_foreign_server AS s
        WHERE EXISTS (SELECT FROM pg_catalog.unnest(s.srvoptions) AS o (option) WHERE pg_catalog.starts_with(o.option, 'use_scram_passthrough='))
        UNION ALL
        SELECT 'mapping', pg_catalog.quote_ident(m.srvname), CASE WHEN m.umuser = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(m.umuser)) END
        FROM pg_catalog.pg_user_mappings AS m
        WHERE m.umoptions IS NULL -- there are none, or they are hidden from this role
            OR EXISTS (SELECT FROM pg_catalog.unnest(m.umoptions) AS o (option) WHERE pg_catalog.starts_with(o.option, 'use_scram_passthrough='))
    ) AS f
    WHERE pg_catalog.current_setting('server_version_num')::int >= 180000 AND pg_catalog.starts_with(system_user, 'scram-sha-256:')
) AS p
ORDER BY p.rank, p.kind <> 'superuser', p.name, p.role
LIMIT 1
