-- Whether this session may read the table ($1, $2) without more, {{if .Told}}and why not: one row, if there is such a table{{else}}behind a lock on it; it fails by a division by zero where not{{end}}. A table of another kind than $3, with
-- children by inheritance, or with a foreign table below it is not the one that was looked at: its rows are in no log, and who made a foreign table says
-- what answers for it.{{if not .Trusted}} Nor is one that another role owns (or one below it, or its schema), which could not act as this one anyway, read by a session with powers
-- that its owner is not to have (source_powers): that role puts code where a read runs it, and no look at code would be as young as the code.{{end}}
WITH RECURSIVE named AS (
    SELECT c.oid, c.relkind::text AS kind, n.oid AS schema, pg_catalog.quote_ident(n.nspname) AS schema_name, n.nspowner AS schema_owner
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2
), family (oid) AS (
    SELECT n.oid FROM named AS n
    UNION
    SELECT i.inhrelid FROM family AS f JOIN pg_catalog.pg_inherits AS i ON i.inhparent = f.oid
), relations AS (
    SELECT c.oid, c.oid = n.oid AS root, c.relkind::text AS kind, c.relowner AS owner
    FROM named AS n
    CROSS JOIN family AS f
    JOIN pg_catalog.pg_class AS c ON c.oid = f.oid
), odd AS (
    SELECT r.oid
    FROM named AS n
    CROSS JOIN relations AS r
    WHERE NOT r.root AND (n.kind <> 'p' OR r.kind = 'f')
{{- if not .Trusted}}
), others (place, what, owner) AS (
    SELECT r.oid, 'table ' || r.oid::pg_catalog.regclass, r.owner
    FROM relations AS r
    WHERE NOT pg_catalog.pg_has_role(r.owner, SESSION_USER, 'MEMBER')
    UNION ALL
    SELECT 0::oid, 'schema ' || n.schema_name, o.owner
    FROM named AS n
    -- A database's owner has the schemas of pg_database_owner.
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN pg_catalog.pg_get_userbyid(n.schema_owner) = 'pg_database_owner'
                THEN (SELECT d.datdba FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
            ELSE n.schema_owner
        END AS owner
    ) AS o
    WHERE NOT pg_catalog.pg_has_role(o.owner, SESSION_USER, 'MEMBER')
), powers (kind, name, role) AS (
    {{query "source_powers"}}
{{- end}}
)
{{- if .Told}}
SELECT
    n.kind,
    COALESCE((SELECT pg_catalog.min(o.oid::pg_catalog.regclass::text) FROM odd AS o), ''),
{{- if .Trusted}}
    '', '', '', '', ''
FROM named AS n
{{- else}}
    COALESCE(p.kind, ''), COALESCE(p.name, ''), COALESCE(p.role, ''), COALESCE(w.what, ''), COALESCE(w.owner, '')
FROM named AS n
LEFT JOIN (
    SELECT o.what, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.owner)) AS owner FROM others AS o ORDER BY o.place = 0, o.place LIMIT 1
) AS w ON true
LEFT JOIN powers AS p ON true
{{- end}}
{{- else}}
SELECT 1 / (CASE
    WHEN (SELECT pg_catalog.count(*) FROM named AS n WHERE n.kind = $3) <> 1 OR EXISTS (SELECT FROM odd) THEN 0
{{- if not .Trusted}}
    WHEN EXISTS (SELECT FROM others) AND EXISTS (SELECT FROM powers) THEN 0
{{- end}}
    ELSE 1
END)
{{- end}}
