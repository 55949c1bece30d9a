-- What the server may run, with the rights of the role that reads{{if .Writes}} or updates{{end}} the table ($1, $2), of what another role wrote: expressions of indexes, statistics, CHECKs
-- and partition keys, which it evaluates while it plans a read too{{if .Writes}}; functions of triggers, rules, policies, generated columns, CHECKs of domains,
-- and ranges{{end}}. Another is one that is neither a superuser nor this session's; a superuser's functions and types (extensions) are as good as built-in
-- ones. One row each: where it stands, the function ('' where it is none, or one of the server that runs what it is told), and who could change it.
WITH RECURSIVE named AS (
    SELECT c.oid
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2
), family (oid) AS (
    SELECT n.oid FROM named AS n
    UNION
    SELECT i.inhrelid FROM family AS f JOIN pg_catalog.pg_inherits AS i ON i.inhparent = f.oid
), relations AS (
    SELECT c.oid, c.relname, c.relowner, o.rolname = SESSION_USER OR o.rolsuper AS own
    FROM family AS f
    JOIN pg_catalog.pg_class AS c ON c.oid = f.oid
    JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
{{- if .Writes}}
), types (oid) AS (
    SELECT a.atttypid
    FROM relations AS r
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT part.oid
    FROM types AS t
    CROSS JOIN LATERAL (
        SELECT p.typelem AS oid FROM pg_catalog.pg_type AS p WHERE p.oid = t.oid
        UNION ALL
        SELECT p.typbasetype FROM pg_catalog.pg_type AS p WHERE p.oid = t.oid
        UNION ALL
        SELECT g.rngtypid FROM pg_catalog.pg_range AS g WHERE g.rngmultitypid = t.oid
        UNION ALL
        SELECT g.rngsubtype FROM pg_catalog.pg_range AS g WHERE g.rngtypid = t.oid
        UNION ALL
        SELECT a.atttypid
        FROM pg_catalog.pg_type AS p
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.typrelid
        WHERE p.oid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    ) AS part
    WHERE part.oid <> 0
{{- end}}
), trees (place, owner, own, tree) AS (
    SELECT 'constraint ' || pg_catalog.quote_ident(k.conname), r.relowner, r.own, k.conbin::text
    FROM relations AS r
    JOIN pg_catalog.pg_constraint AS k ON k.conrelid = r.oid
    WHERE k.conbin IS NOT NULL
    UNION ALL
    SELECT 'index ' || pg_catalog.quote_ident(c.relname), r.relowner, r.own, pg_catalog.concat(i.indexprs::text, i.indpred::text)
    FROM relations AS r
    JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    UNION ALL
    SELECT 'statistics ' || pg_catalog.quote_ident(s.stxname), r.relowner, r.own, s.stxexprs::text
    FROM relations AS r
    JOIN pg_catalog.pg_statistic_ext AS s ON s.stxrelid = r.oid
    WHERE s.stxexprs IS NOT NULL
    UNION ALL
    SELECT 'partition key of ' || pg_catalog.quote_ident(r.relname), r.relowner, r.own, p.partexprs::text
    FROM relations AS r
    JOIN pg_catalog.pg_partitioned_table AS p ON p.partrelid = r.oid
    WHERE p.partexprs IS NOT NULL
    UNION ALL
    SELECT 'value of column ' || pg_catalog.quote_ident(a.attname), r.relowner, r.own, d.adbin::text
    FROM relations AS r
    JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = r.oid
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE a.attgenerated {{if .Writes}}<> ''{{else}}NOT IN ('', 's'){{end}}
{{- if .Writes}}
    UNION ALL
    SELECT
        'constraint ' || pg_catalog.quote_ident(k.conname) || ' of domain ' || pg_catalog.quote_ident(y.typname), y.typowner,
        y.typowner IN (SELECT o.oid FROM pg_catalog.pg_roles AS o WHERE o.rolname = SESSION_USER OR o.rolsuper), k.conbin::text
    FROM types AS t
    JOIN pg_catalog.pg_type AS y ON y.oid = t.oid
    JOIN pg_catalog.pg_constraint AS k ON k.contypid = y.oid
    WHERE k.conbin IS NOT NULL
{{- end}}
), found (rank, place, function, owner) AS (
    SELECT
        CASE WHEN other.code THEN 2 ELSE 3 END, t.place, CASE WHEN other.code THEN p.function END, CASE WHEN other.code THEN p.owner ELSE t.owner END
    FROM trees AS t
    CROSS JOIN LATERAL (
        {{query "source_code_parts"}}
    ) AS p
    LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = p.owner
    CROSS JOIN LATERAL (SELECT NOT o.rolsuper AND o.rolname <> SESSION_USER) AS other (code)
    WHERE other.code OR NOT t.own AND (NOT p.steady OR o.rolname IS NULL)
{{- if .Writes}}
    UNION ALL
    SELECT 1, 'trigger ' || pg_catalog.quote_ident(g.tgname), NULL, r.relowner
    FROM relations AS r
    JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = r.oid
    WHERE NOT r.own AND NOT g.tgisinternal AND g.tgenabled <> 'D'
    UNION ALL
    SELECT 1, w.place, f.oid, f.proowner
    FROM relations AS r
    CROSS JOIN LATERAL (
        SELECT 'trigger ' || pg_catalog.quote_ident(g.tgname) AS place, 'pg_catalog.pg_trigger'::pg_catalog.regclass AS classid, g.oid
        FROM pg_catalog.pg_trigger AS g
        WHERE g.tgrelid = r.oid AND g.tgenabled <> 'D'
        UNION ALL
        SELECT 'rule ' || pg_catalog.quote_ident(u.rulename), 'pg_catalog.pg_rewrite'::pg_catalog.regclass, u.oid
        FROM pg_catalog.pg_rewrite AS u
        WHERE u.ev_class = r.oid
        UNION ALL
        SELECT 'row policy ' || pg_catalog.quote_ident(l.polname), 'pg_catalog.pg_policy'::pg_catalog.regclass, l.oid
        FROM pg_catalog.pg_policy AS l
        WHERE l.polrelid = r.oid
    ) AS w
    JOIN pg_catalog.pg_depend AS d ON d.classid = w.classid AND d.objid = w.oid
    LEFT JOIN pg_catalog.pg_operator AS op ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND op.oid = d.refobjid
    JOIN pg_catalog.pg_proc AS f ON f.oid = CASE WHEN d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass THEN d.refobjid ELSE op.oprcode::oid END
    JOIN pg_catalog.pg_roles AS o ON o.oid = f.proowner
    WHERE NOT o.rolsuper AND o.rolname <> SESSION_USER
    UNION ALL
    SELECT 4, 'type ' || pg_catalog.quote_ident(y.typname), f.oid, f.proowner
    FROM types AS t
    JOIN pg_catalog.pg_range AS g ON g.rngtypid = t.oid
    JOIN pg_catalog.pg_type AS y ON y.oid = g.rngtypid
    JOIN pg_catalog.pg_proc AS f ON f.oid IN (g.rngcanonical::oid, g.rngsubdiff::oid)
    JOIN pg_catalog.pg_roles AS o ON o.oid = f.proowner
    WHERE NOT o.rolsuper AND o.rolname <> SESSION_USER
{{- end}}
)
SELECT s.place, s.function, s.owner
FROM (
    SELECT DISTINCT
        d.rank,
        d.place,
        CASE
            WHEN f.oid IS NULL THEN ''
            ELSE pg_catalog.format('%I.%I(%s)', n.nspname, f.proname, pg_catalog.pg_get_function_identity_arguments(f.oid))
        END AS function,
        pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(d.owner)) AS owner
    FROM found AS d
    LEFT JOIN pg_catalog.pg_proc AS f ON f.oid = d.function
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
) AS s
ORDER BY s.rank, s.place, s.function
LIMIT 20
