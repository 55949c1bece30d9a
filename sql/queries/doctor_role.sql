-- What this role may do on the server besides streaming from the table ($1, $2): its attributes, and whether the table has row security; the
-- roles that it was granted and that bring more than the statistics of other sessions, and by whom (as below); another database that it has the right to enter; and who may make
-- itself a member of it, and so can act as it, with who gave it that (from 16 on, where it was another than the server's first role); the address that
-- the server sees (none of a local socket), and whether the session is encrypted.
SELECT
    r.rolcreatedb,
    r.rolcreaterole,
    r.rolbypassrls,
    r.rolreplication,
    EXISTS (
        SELECT
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = $2 AND c.relrowsecurity
    ),
    given.roles,
    given.grantors,
    coalesce((
        SELECT d.datname::text
        FROM pg_catalog.pg_database AS d
        WHERE d.datallowconn AND d.datname <> pg_catalog.current_database() AND pg_catalog.has_database_privilege(d.oid, 'CONNECT')
        ORDER BY d.datname = 'postgres' DESC, d.datname
        LIMIT 1
    ), ''),
    ARRAY(
        SELECT m.rolname::text
        FROM pg_catalog.pg_auth_members AS a
        JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
        WHERE a.roleid = r.oid AND a.admin_option AND NOT m.rolsuper
        ORDER BY a.grantor = 10, m.rolname, a.grantor
    ),
    ARRAY(
        SELECT CASE
            WHEN a.grantor <> 10 AND pg_catalog.current_setting('server_version_num')::int >= 160000 THEN pg_catalog.pg_get_userbyid(a.grantor)::text ELSE ''
        END
        FROM pg_catalog.pg_auth_members AS a
        JOIN pg_catalog.pg_roles AS m ON m.oid = a.member
        WHERE a.roleid = r.oid AND a.admin_option AND NOT m.rolsuper
        ORDER BY a.grantor = 10, m.rolname, a.grantor
    ),
    coalesce(pg_catalog.host(pg_catalog.inet_client_addr()), ''),
    coalesce((SELECT s.ssl FROM pg_catalog.pg_stat_ssl AS s WHERE s.pid = pg_catalog.pg_backend_pid()), false)
FROM pg_catalog.pg_roles AS r
CROSS JOIN LATERAL (
    SELECT
        coalesce(pg_catalog.array_agg(m.role ORDER BY m.role, m.grantor), '{}') AS roles,
        coalesce(pg_catalog.array_agg(m.grantor ORDER BY m.role, m.grantor), '{}') AS grantors
    FROM (
        SELECT DISTINCT
            g.rolname::text AS role,
            CASE
                WHEN m.grantor <> 10 AND pg_catalog.current_setting('server_version_num')::int >= 160000 THEN pg_catalog.pg_get_userbyid(m.grantor)::text ELSE ''
            END AS grantor
        FROM pg_catalog.pg_auth_members AS m
        JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
        JOIN pg_catalog.pg_roles AS more ON
            more.rolsuper OR more.rolcreatedb OR more.rolcreaterole OR more.rolbypassrls
            OR pg_catalog.starts_with(more.rolname::text, 'pg_') AND more.rolname NOT IN ('pg_read_all_stats', 'pg_database_owner')
            OR more.rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin', 'alloydbsuperuser', 'supabase_admin', 'neon_superuser')
        WHERE m.member = r.oid AND NOT r.rolsuper AND pg_catalog.pg_has_role(g.oid, more.oid, 'MEMBER')
    ) AS m
) AS given
WHERE r.rolname = session_user
