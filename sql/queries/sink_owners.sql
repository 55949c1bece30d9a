-- By the catalogue alone: the schema ($1), and with it each relation that a pipeline ($2) reads there and that is no table, or belongs to a role that is not
-- trusted. That are this role, superusers, and the one that the settings name ($3). A trigger takes a right that may have been taken back, and runs as who
-- writes: so each has to call a function of a trusted role, without arguments and condition, and so has a foreign key to belong to a trusted role's table. A
-- trigger or a foreign key of this moment says nothing of the next: no other role may have the right to make one. No row where there is no schema.
WITH schema AS (
    SELECT
        n.oid, CASE WHEN n.nspowner = 'pg_database_owner'::pg_catalog.regrole THEN d.datdba ELSE n.nspowner END AS owner
    FROM pg_catalog.pg_namespace AS n
    JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
    WHERE n.nspname = $1::text
),

-- Two looks by name, for which the catalogue has an index. What follows a name's number sorts before a colon.
relation AS (
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
    SELECT
        r.relname::text,
        CASE WHEN g.tgisinternal THEN 'foreign key of ' || pg_catalog.quote_ident(l.relname) ELSE 'trigger ' || pg_catalog.quote_ident(g.tgname) END,
        CASE WHEN g.tgisinternal THEN l.relowner ELSE p.proowner END,
        g.tgisinternal OR g.tgfoid >= 16384 AND g.tgnargs = 0 AND g.tgqual IS NULL, NULL
    FROM relation AS r
    JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = r.oid
    JOIN pg_catalog.pg_proc AS p ON p.oid = g.tgfoid
    LEFT JOIN pg_catalog.pg_class AS l ON l.oid = g.tgconstrrelid
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
) AS f
LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = f.owner
WHERE NOT f.well OR NOT coalesce(o.rolsuper OR o.rolname = session_user OR o.rolname = $3::text, false)
ORDER BY f.name, pg_catalog.starts_with(f.kind, 'right ')
