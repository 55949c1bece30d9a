-- What was just made is its owner's alone: the default privileges of the role that runs this open it to others. They may be a wish for all of a team, or
-- of a stranger's, who could once act as that role; and another may run this than the one that printed it.
DO {{.Tag}}
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT DISTINCT m.thing, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END AS grantee
        FROM (
{{- if .NewSchema}}
            SELECT pg_catalog.format('SCHEMA %I', n.nspname) AS thing, n.nspowner AS owner, n.nspacl AS acl
            FROM pg_catalog.pg_namespace AS n
            WHERE n.nspname = {{.Schema}}
            UNION ALL
{{- end}}
            SELECT pg_catalog.format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname) AS thing, c.relowner AS owner, c.relacl AS acl
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = {{.Schema}} AND c.relkind IN ('r', 'p', 'v', 'S')
{{- if .Names}}
                AND c.relname::pg_catalog.text = ANY (ARRAY[{{join .Names ", "}}])
{{- else}}
                AND c.oid::pg_catalog.text <> ALL (pg_catalog.string_to_array(pg_catalog.current_setting('wal2vec.made_before'), ' '))
{{- end}}
        ) AS m
        CROSS JOIN LATERAL pg_catalog.aclexplode(m.acl) AS x
        WHERE x.grantee <> m.owner
    LOOP
        EXECUTE 'REVOKE ALL ON ' || given.thing || ' FROM ' || given.grantee || ' CASCADE';
    END LOOP;
END
{{.Tag}}
