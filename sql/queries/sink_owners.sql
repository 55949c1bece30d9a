-- By the catalogue alone: the schema ($1), and with it each relation that a pipeline ($2) reads there and that is no table, or belongs to a role that is not
-- trusted. That are this role, superusers, and the one that the settings name ($3). A foreign key has to be between these tables: it takes a right that may
-- have been taken back. A trigger or a foreign key of this moment says nothing of the next: no other role may have the right to make one. What else hangs on
-- a table belongs to its owner, and yet another role may have written it: ALTER TABLE ... OWNER TO (of a dump that is restored into a schema which is there)
-- and REASSIGN OWNED give a table away with all that is on it, and functions with it. So that is compared with what init writes, whichever role has it now:
-- there is no trigger. No row where there is no schema.
WITH schema AS (
    SELECT
        n.oid, CASE WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE n.nspowner END AS owner
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
    WHERE n.nspname = $1::text
),

-- Two looks by name, for which the catalogue has an index. What follows a name's number sorts before a colon.
named AS (
    SELECT c.oid, c.relname, c.relkind, c.relowner
    FROM schema AS s
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = s.oid AND c.relname = ANY (
        ARRAY['schema_version', 'pipeline', 'generation', 'stream_state', 'backfill', 'shape', 'dead_letter', 'ledger_' || $2::text, 'dead_letter_' || $2::text]::name[]
    )
    UNION ALL
    SELECT c.oid, c.relname, c.relkind, c.relowner
    FROM schema AS s
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = s.oid AND c.relname >= ('vectors_' || $2::text || '_0')::name AND c.relname < ('vectors_' || $2::text || '_:')::name
    WHERE c.relkind NOT IN ('i', 'I')
),

-- In version 7 of the schema dead letters are partitions of one table, and those of other pipelines are read with it.
relation AS (
    SELECT
        r.oid, r.relname, r.relkind, r.relowner, r.parent,
        r.relkind IN ('r', 'p') AND (o.rolsuper OR o.rolname = session_user OR o.rolname = $3::text) AS looked
    FROM (
        SELECT n.oid, n.relname, n.relkind, n.relowner, n.relname = 'dead_letter' AND n.relkind = 'p' AS parent
        FROM named AS n
        UNION
        SELECT c.oid, c.relname, c.relkind, c.relowner, false
        FROM named AS n
        JOIN pg_catalog.pg_inherits AS i ON i.inhparent = n.oid
        JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
        WHERE n.relname = 'dead_letter' AND n.relkind = 'p'
    ) AS r
    LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = r.relowner
),

-- Where a table is another role's, that is what is told of it, and nothing on it is looked at: to print an expression takes a lock.
mine AS (
    SELECT r.oid, r.relname, r.parent
    FROM relation AS r
    WHERE r.looked
),

-- What belongs to a table, by the catalogue that it is in, and the expressions that the server evaluates where a row is read or written.
part AS (
    SELECT r.oid AS relation, 'pg_catalog.pg_class'::pg_catalog.regclass AS classid, r.oid, NULL AS place, p.partexprs AS expression
    FROM mine AS r
    LEFT JOIN pg_catalog.pg_partitioned_table AS p ON p.partrelid = r.oid
    UNION ALL
    SELECT r.oid, 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, 'index ' || pg_catalog.quote_ident(c.relname), e.expression
    FROM mine AS r
    JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    CROSS JOIN LATERAL (VALUES (i.indexprs), (i.indpred)) AS e (expression)
    UNION ALL
    SELECT r.oid, 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, 'constraint ' || pg_catalog.quote_ident(k.conname), k.conbin
    FROM mine AS r
    JOIN pg_catalog.pg_constraint AS k ON k.conrelid = r.oid
    UNION ALL
    SELECT r.oid, 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid, 'value of column ' || pg_catalog.quote_ident(a.attname), d.adbin
    FROM mine AS r
    JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = r.oid
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
),

-- The planner knows nothing of how many these are: it would put them together once for each row of the catalogue that it joins them with.
object AS MATERIALIZED (
    SELECT DISTINCT p.relation, p.classid, p.oid, p.place
    FROM part AS p
),

-- What hangs on the tables and is not as init writes it.
hanging AS (
    SELECT r.oid AS relation, 'policy ' || pg_catalog.quote_ident(l.polname) AS place
    FROM mine AS r
    CROSS JOIN (
        SELECT pg_catalog.replace(pg_catalog.quote_ident($1::text), '''', '''''') AS ident, pg_catalog.replace($1::text, '''', '''''') AS literal
    ) AS s
    JOIN pg_catalog.pg_policy AS l ON l.polrelid = r.oid
    WHERE (
        r.relname IN ('pipeline', 'generation', 'stream_state', 'backfill', 'shape', 'dead_letter')
        AND (l.polname, l.polcmd) IN (('readers'::name, 'r'::"char"), ('writers'::name, '*'::"char"))
        AND l.polpermissive AND l.polroles = '{0}' AND l.polwithcheck IS NULL
        -- As the server prints it: since migration 009, and before.
        AND pg_catalog.pg_get_expr(l.polqual, l.polrelid) IN (
            SELECT pg_catalog.concat(
                'has_table_privilege((to_regclass(format(', w.beginning, CASE r.relname WHEN 'pipeline' THEN 'name' ELSE 'pipeline' END, ')))::oid, ',
                CASE l.polname WHEN 'readers' THEN '''SELECT''' ELSE '''UPDATE''' END, '::text)'
            )
            FROM (VALUES
                ('''%s.ledger_%s''::text, ''' || s.ident || '''::regnamespace, '), ('''%I.ledger_%s''::text, ''' || s.literal || ''', ')
            ) AS w (beginning)
        )
    ) IS NOT TRUE
    UNION ALL
    SELECT r.oid, 'trigger ' || pg_catalog.quote_ident(g.tgname)
    FROM mine AS r
    JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = r.oid AND NOT g.tgisinternal
    UNION ALL
    SELECT r.oid, 'rule ' || pg_catalog.quote_ident(u.rulename)
    FROM mine AS r
    JOIN pg_catalog.pg_rewrite AS u ON u.ev_class = r.oid
    UNION ALL
    SELECT r.oid, 'parent table ' || pg_catalog.quote_ident(c.relname)
    FROM mine AS r
    JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = r.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.inhparent
    WHERE NOT EXISTS (SELECT FROM relation AS p WHERE p.oid = i.inhparent AND p.parent)
    UNION ALL
    SELECT r.oid, 'child table ' || pg_catalog.quote_ident(c.relname)
    FROM mine AS r
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = r.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
    WHERE NOT r.parent
    UNION ALL
    SELECT r.oid, 'statistics ' || pg_catalog.quote_ident(x.stxname)
    FROM mine AS r
    JOIN pg_catalog.pg_statistic_ext AS x ON x.stxrelid = r.oid
    WHERE x.stxexprs IS NOT NULL
    UNION ALL
    -- Immutable functions of the server itself, and the ones that migrations name besides. pg_input_is_valid runs the input function of the type that it is
    -- told, which may be anybody's domain; so init's own calls alone pass. What has types, see below.
    SELECT e.relation, coalesce(e.place, 'partition key')
    FROM part AS e
    CROSS JOIN LATERAL (SELECT e.expression::text AS tree) AS t
    WHERE e.expression IS NOT NULL AND EXISTS (
        SELECT
        FROM (
            {{query "source_code_parts"}}
        ) AS p
        LEFT JOIN pg_catalog.pg_proc AS f ON f.oid = p.function
        LEFT JOIN pg_catalog.pg_language AS g ON g.oid = f.prolang
        WHERE
            NOT (p.function IS NULL AND p.steady)
            AND (
                p.function IN ('pg_catalog.gen_random_uuid()'::pg_catalog.regprocedure, 'pg_catalog.array_to_string(anyarray, text)'::pg_catalog.regprocedure)
                OR f.oid >= 16384 AND g.lanname = 'c'
            ) IS NOT TRUE
            AND (
                p.function = 'pg_catalog.pg_input_is_valid(text, text)'::pg_catalog.regprocedure
                AND (
                    SELECT pg_catalog.regexp_count(x.printed, 'pg_input_is_valid') = pg_catalog.regexp_count(
                        x.printed, 'pg_input_is_valid[(]key[[][0-9]+[]], ''((pg_catalog[.])?(smallint|integer|bigint|text|uuid|character varying))''::text[)]'
                    )
                    FROM (SELECT pg_catalog.pg_get_expr(e.expression, e.relation) AS printed) AS x
                )
            ) IS NOT TRUE
    )
    UNION ALL
    -- Functions, operators and types that are not the server's own. A superuser alone makes functions in C and the types that they read and print
    -- (pgvector's), operator classes and access methods; any role makes domains, row types, ranges and collations.
    SELECT o.relation, coalesce(o.place, 'column ' || pg_catalog.quote_ident(a.attname), 'row type')
    FROM object AS o
    CROSS JOIN LATERAL (
        SELECT e.refclassid, e.refobjid, e.objsubid
        FROM pg_catalog.pg_depend AS e
        WHERE e.classid = o.classid AND e.objid = o.oid AND e.refobjid >= 16384
        OFFSET 0
    ) AS d
    LEFT JOIN pg_catalog.pg_attribute AS a ON o.place IS NULL AND a.attrelid = o.relation AND a.attnum = d.objsubid AND a.attnum > 0
    LEFT JOIN pg_catalog.pg_operator AS op ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND op.oid = d.refobjid
    LEFT JOIN pg_catalog.pg_proc AS f
        ON f.oid = CASE d.refclassid WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN d.refobjid ELSE op.oprcode::oid END
    LEFT JOIN pg_catalog.pg_language AS g ON g.oid = f.prolang
    LEFT JOIN pg_catalog.pg_type AS y ON d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND y.oid = d.refobjid
    LEFT JOIN pg_catalog.pg_type AS m ON m.oid = y.typelem
    WHERE CASE
        WHEN d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass) THEN g.lanname IS DISTINCT FROM 'c'
        WHEN d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass THEN (y.typtype = 'b' AND coalesce(m.typtype = 'b', true)) IS NOT TRUE
        ELSE d.refclassid = 'pg_catalog.pg_collation'::pg_catalog.regclass
    END
)

SELECT
    f.name, f.kind, coalesce(o.rolname::text, ''), coalesce(o.rolsuper OR o.rolname = session_user OR o.rolname = $3::text, false), session_user::text,
    coalesce(f.grantor, '')
FROM (
    SELECT '' AS name, '' AS kind, s.owner, false AS well, NULL::text AS grantor
    FROM schema AS s
    UNION ALL
    SELECT r.relname::text, r.relkind::text, r.relowner, r.relkind IN ('r', 'p'), NULL
    FROM relation AS r
    UNION ALL
    -- The server's own triggers: those of foreign keys, and of a constraint that is deferrable, which have no second table.
    SELECT
        r.relname::text, 'foreign key of ' || pg_catalog.quote_ident(l.relname), l.relowner, l.oid IN (SELECT k.oid FROM relation AS k), NULL
    FROM relation AS r
    JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = r.oid AND g.tgisinternal
    JOIN pg_catalog.pg_class AS l ON l.oid = g.tgconstrrelid
    UNION ALL
    SELECT r.relname::text, 'right ' || x.privilege_type, x.grantee, true,
        CASE WHEN x.grantor <> r.relowner THEN pg_catalog.pg_get_userbyid(x.grantor)::text END
    FROM relation AS r
    CROSS JOIN LATERAL (
        SELECT c.relacl AS acl FROM pg_catalog.pg_class AS c WHERE c.oid = r.oid
        UNION ALL
        SELECT a.attacl FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = r.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped
    ) AS g
    CROSS JOIN LATERAL pg_catalog.aclexplode(g.acl) AS x
    WHERE x.privilege_type IN ('TRIGGER', 'REFERENCES') AND x.grantee <> r.relowner
    UNION ALL
    SELECT DISTINCT r.relname::text, 'hanging ' || h.place, r.relowner, false, NULL
    FROM hanging AS h
    JOIN relation AS r ON r.oid = h.relation
) AS f
LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = f.owner
WHERE NOT f.well OR NOT coalesce(o.rolsuper OR o.rolname = session_user OR o.rolname = $3::text, false)
ORDER BY f.name, pg_catalog.starts_with(f.kind, 'right ')
