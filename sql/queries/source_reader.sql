-- {{if .Told}}Whether this session may read the table ($1, $2) without more, and why not: one row, if there is such a table; last, its object id, its owner,
-- where that one could not act as this session anyway, whether this session may read any column of it, and the owner of the publication ($3) that has not
-- that one's rights: the table is another than the one that is followed{{else}}Fails by a division by zero where the table ($1, $2), which is locked, is not to be read{{end}}: one of another kind{{if not .Told}} than $3{{end}}, with
-- children by inheritance, or with a foreign table below it. Their rows are in no log, and who made a foreign table says what answers for it.
{{- if and .Told (not .Trusted)}} Nor is one that another role owns (or one below it, or its schema) that could not act as this one anyway, where this session has powers that its
-- owner is not to have (source_powers): that role puts code where a read runs it, and no look at code would be as young as the code.
{{- else if .Powers}} Nor is one that another role owns (or one below it, or its schema) that could not act as this one anyway: this session has powers.
{{- end}}
WITH {{if or .Powers (and .Told (not .Trusted))}}RECURSIVE {{end}}named AS (
    SELECT
        c.oid, c.relowner AS owner, c.relkind::text AS kind, c.relkind = 'p' AS partitioned, pg_catalog.quote_ident(n.nspname) AS schema_name,
        -- A database's owner has the schemas of pg_database_owner.
        CASE WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE n.nspowner END AS schema_owner
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
    WHERE n.nspname = $1 AND c.relname = $2
), odd AS (
    SELECT i.inhrelid AS oid
    FROM named AS n
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = n.oid
    WHERE NOT n.partitioned
    UNION ALL
    SELECT c.oid
    FROM named AS n
    CROSS JOIN LATERAL pg_catalog.pg_partition_tree(n.oid) AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.relid
    WHERE n.partitioned AND c.relkind = 'f'
{{- if or .Powers (and .Told (not .Trusted))}}
), family (oid) AS (
    SELECT n.oid FROM named AS n
    UNION
    SELECT i.inhrelid FROM family AS f JOIN pg_catalog.pg_inherits AS i ON i.inhparent = f.oid
), others (place, what, owner) AS (
    SELECT c.oid, 'table ' || c.oid::pg_catalog.regclass, c.relowner
    FROM family AS f
    JOIN pg_catalog.pg_class AS c ON c.oid = f.oid
    WHERE NOT pg_catalog.pg_has_role(c.relowner, SESSION_USER, 'MEMBER')
    UNION ALL
    SELECT 0::oid, 'schema ' || n.schema_name, n.schema_owner
    FROM named AS n
    WHERE NOT pg_catalog.pg_has_role(n.schema_owner, SESSION_USER, 'MEMBER')
{{- end}}
)
{{- if not .Told}}
SELECT 1 / (CASE
    WHEN (SELECT pg_catalog.count(*) FROM named AS n WHERE n.kind = $3) <> 1 OR EXISTS (SELECT FROM odd){{if .Powers}} OR EXISTS (SELECT FROM others){{end}} THEN 0
    ELSE 1
END)
{{- else}}
SELECT
    n.kind,
    COALESCE((SELECT pg_catalog.min(o.oid::pg_catalog.regclass::text) FROM odd AS o), ''),
{{- if .Trusted}}
    '', '', '', '', '', n.oid::text, '', true::text, ''
FROM named AS n
WHERE $3::text IS NOT NULL
{{- else}}
    COALESCE(p.kind, ''), COALESCE(p.name, ''), COALESCE(p.role, ''), COALESCE(w.what, ''), COALESCE(w.owner, ''), n.oid::text,
    CASE WHEN o.foreign_owner THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(n.owner)) ELSE '' END,
    pg_catalog.has_any_column_privilege(n.oid, 'SELECT')::text,
    COALESCE((
        SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(b.pubowner))
        FROM pg_catalog.pg_publication AS b
        WHERE o.foreign_owner AND b.pubname = $3 AND NOT pg_catalog.pg_has_role(b.pubowner, n.owner, 'MEMBER')
    ), '')
FROM named AS n
CROSS JOIN LATERAL (SELECT NOT pg_catalog.pg_has_role(n.owner, SESSION_USER, 'MEMBER') AS foreign_owner) AS o
LEFT JOIN (
    SELECT o.what, pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.owner)) AS owner FROM others AS o ORDER BY o.place = 0, o.place LIMIT 1
) AS w ON true
LEFT JOIN (
    {{query "source_powers"}}
) AS p ON true
{{- end}}
{{- end}}
