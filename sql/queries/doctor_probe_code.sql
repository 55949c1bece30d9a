-- What an update of a table ($1), of its children too, may run with this role's rights, though the table is another role's: one name at most. Rules,
-- triggers and policies whatever they call; expressions unless all in them is of a known kind and calls immutable functions of the server itself
-- alone. (Those that run SQL text, such as ts_rewrite and query_to_xml, are not; a domain's CHECK and a type's casts have kinds of their own.)
-- Of types that users made, enums alone are let pass: a range calls a function of its own. A foreign key compares by casts.
WITH RECURSIVE family (oid) AS (
    SELECT $1::text::regclass::oid
    UNION
    SELECT i.inhrelid FROM family AS f JOIN pg_catalog.pg_inherits AS i ON i.inhparent = f.oid
), others (oid) AS (
    SELECT c.oid
    FROM (SELECT f.oid FROM family AS f UNION SELECT a.relid::oid FROM pg_catalog.pg_partition_ancestors($1::text::regclass) AS a) AS r
    JOIN pg_catalog.pg_class AS c ON c.oid = r.oid
    WHERE pg_catalog.pg_get_userbyid(c.relowner) <> SESSION_USER
), trees (what, tree) AS (
    SELECT 'constraint ' || pg_catalog.quote_ident(k.conname), k.conbin::text
    FROM pg_catalog.pg_constraint AS k
    WHERE k.conrelid IN (SELECT o.oid FROM others AS o) AND k.conbin IS NOT NULL
    UNION ALL
    SELECT 'index ' || pg_catalog.quote_ident(c.relname), coalesce(i.indexprs::text, '') || coalesce(i.indpred::text, '')
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid IN (SELECT o.oid FROM others AS o)
    UNION ALL
    SELECT 'value of column ' || pg_catalog.quote_ident(a.attname), d.adbin::text
    FROM pg_catalog.pg_attrdef AS d
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE d.adrelid IN (SELECT o.oid FROM others AS o) AND a.attgenerated <> ''
    UNION ALL
    SELECT 'statistics ' || pg_catalog.quote_ident(s.stxname), s.stxexprs::text
    FROM pg_catalog.pg_statistic_ext AS s
    WHERE s.stxrelid IN (SELECT o.oid FROM others AS o) AND s.stxexprs IS NOT NULL
    UNION ALL
    SELECT 'partition key of ' || pg_catalog.quote_ident(c.relname), p.partexprs::text
    FROM pg_catalog.pg_partitioned_table AS p
    JOIN pg_catalog.pg_class AS c ON c.oid = p.partrelid
    WHERE p.partrelid IN (SELECT o.oid FROM others AS o) AND p.partexprs IS NOT NULL
), found (what, place) AS (
    SELECT 'trigger ' || pg_catalog.quote_ident(g.tgname), 1
    FROM pg_catalog.pg_trigger AS g
    WHERE g.tgrelid IN (SELECT o.oid FROM others AS o) AND NOT g.tgisinternal AND g.tgenabled <> 'D'
    UNION ALL
    SELECT 'rule ' || pg_catalog.quote_ident(w.rulename), 2
    FROM pg_catalog.pg_rewrite AS w
    WHERE w.ev_class IN (SELECT o.oid FROM others AS o)
    UNION ALL
    SELECT 'row policy ' || pg_catalog.quote_ident(l.polname), 3
    FROM pg_catalog.pg_policy AS l
    WHERE l.polrelid IN (SELECT o.oid FROM others AS o)
    UNION ALL
    SELECT 'foreign key ' || pg_catalog.quote_ident(k.conname), 4
    FROM pg_catalog.pg_constraint AS k
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey) OR a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)
    WHERE k.contype = 'f' AND a.atttypid >= 16384
        AND (k.conrelid IN (SELECT o.oid FROM others AS o) OR k.confrelid IN (SELECT o.oid FROM others AS o))
    UNION ALL
    SELECT t.what, 5
    FROM trees AS t
    WHERE
        EXISTS (
            SELECT
            FROM pg_catalog.regexp_matches(t.tree, '[{]([A-Za-z_0-9]*)', 'g') AS m (kind)
            WHERE m.kind[1] <> ALL (ARRAY[
                'VAR', 'CONST', 'FUNCEXPR', 'NAMEDARGEXPR', 'OPEXPR', 'DISTINCTEXPR', 'NULLIFEXPR', 'SCALARARRAYOPEXPR', 'BOOLEXPR', 'NULLTEST',
                'BOOLEANTEST', 'RELABELTYPE', 'COLLATEEXPR', 'ARRAYCOERCEEXPR', 'CASETESTEXPR', 'ARRAY', 'ARRAYEXPR', 'CASE', 'CASEEXPR', 'WHEN',
                'CASEWHEN', 'COALESCE', 'COALESCEEXPR', 'MINMAX', 'MINMAXEXPR'
            ])
        ) OR EXISTS (
            SELECT
            FROM pg_catalog.regexp_matches(t.tree, ':([a-z_]*funcid|opno|[A-Za-z_]*type|[a-z_]*typeid|typeId) ([0-9]+)', 'g') AS m (part)
            LEFT JOIN pg_catalog.pg_operator AS o ON m.part[1] = 'opno' AND o.oid = m.part[2]::oid
            LEFT JOIN pg_catalog.pg_proc AS f
                ON m.part[1] ~ 'funcid$|^opno$' AND f.oid = CASE WHEN m.part[1] = 'opno' THEN o.oprcode::oid ELSE m.part[2]::oid END
            LEFT JOIN pg_catalog.pg_type AS y ON m.part[1] !~ 'funcid$|^opno$' AND y.oid = m.part[2]::oid
            WHERE m.part[2] <> '0' AND CASE
                WHEN m.part[1] ~ 'funcid$|^opno$' THEN f.oid IS NULL OR f.oid >= 16384 OR f.proowner <> 10 OR f.provolatile <> 'i'
                    OR f.pronamespace <> 'pg_catalog'::regnamespace
                ELSE m.part[2]::oid >= 16384 AND y.typtype IS DISTINCT FROM 'e'
            END
        )
)
SELECT f.what FROM found AS f ORDER BY f.place, f.what LIMIT 1
