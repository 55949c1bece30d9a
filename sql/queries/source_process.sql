-- Whose a server process ($1) is: its application, role and address, as far as this role may see them. No row where it has ended.
SELECT
    COALESCE(a.application_name, ''),
    COALESCE(a.usename::text, ''),
    COALESCE(pg_catalog.host(a.client_addr), CASE WHEN a.client_port = -1 THEN 'this server itself' ELSE '' END)
FROM pg_catalog.pg_stat_activity AS a
WHERE a.pid = $1
