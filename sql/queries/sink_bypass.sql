-- Whether a role ($3), or one that it is a member of, passes over the row policies that keep pipelines apart, and how many pipelines the schema ($1)
-- has besides this one, whose ledger is $2; and by which membership, that which role granted (from 16 on, where it was another than the first). A superuser is not looked at: no policy is meant for one.
SELECT g.rolname::text, (
    SELECT pg_catalog.count(*)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind = 'r' AND pg_catalog.starts_with(c.relname::text, 'ledger_') AND c.relname <> $2
), coalesce(t.rolname::text, ''), CASE
    WHEN m.grantor <> 10 AND pg_catalog.current_setting('server_version_num')::int >= 160000 THEN pg_catalog.pg_get_userbyid(m.grantor)::text ELSE ''
END
FROM pg_catalog.pg_roles AS r
JOIN pg_catalog.pg_roles AS g ON g.rolbypassrls AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER')
LEFT JOIN pg_catalog.pg_auth_members AS m ON m.member = r.oid AND g.oid <> r.oid AND pg_catalog.pg_has_role(m.roleid, g.oid, 'MEMBER')
LEFT JOIN pg_catalog.pg_roles AS t ON t.oid = m.roleid
WHERE r.rolname = $3 AND NOT r.rolsuper
ORDER BY g.oid = r.oid DESC, g.rolname, t.rolname, m.grantor
LIMIT 1
