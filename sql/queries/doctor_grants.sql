-- Who was given rights on what is this pipeline's ($2) in wal2vec's schema ($1), besides its owner: the schema, the tables ($3), the sequences, and the view
-- ($7, $8). Of a table a role that streams has some rights on the whole ($4, with commas), may insert some columns ($5) and update some ($6); one that searches
-- reads it. Such a role is told with nothing else; all other rights are told with what they are on, a line for the things with the same ones, and who
-- gave them, where that is another than the owner: each right and the column that it is on, since that one need not have more of it than was given; at
-- the end what the role is for, by what init gives: streams, reads, or another pipeline. Roles that are trusted (superusers, and the one that the
-- settings name, $9) may have any; those of this session that the owner gave it on tables are looked at by other queries.
WITH need AS (
    SELECT w.name, pg_catalog.string_to_array(w.needs, ',') AS whole, pg_catalog.string_to_array(w.inserts, ',') AS inserts,
        pg_catalog.string_to_array(w.updates, ',') AS updates
    FROM ROWS FROM (
        pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]), pg_catalog.unnest($5::text[]), pg_catalog.unnest($6::text[])
    ) AS w (name, needs, inserts, updates)
),

relation AS (
    SELECT
        c.oid, c.relname::text AS name, c.relowner AS owner, c.relacl AS acl, n.nspname::text AS schema,
        CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' WHEN n.nspname = $1 AND c.relname = ANY ($3::text[]) THEN 'TABLE' ELSE 'VIEW' END AS kind
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND (c.relname = ANY ($3::text[]) OR c.relkind = 'S') OR n.nspname = $7 AND c.relname = $8 AND c.relkind = 'v'
),

given AS (
    SELECT 'SCHEMA' AS kind, n.nspname::text AS schema, '' AS name, '' AS col, n.nspowner AS owner, x.grantee, x.grantor, x.privilege_type, x.is_grantable
    FROM pg_catalog.pg_namespace AS n
    CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS x
    WHERE n.nspname = $1
    UNION ALL
    SELECT r.kind, r.schema, r.name, '', r.owner, x.grantee, x.grantor, x.privilege_type, x.is_grantable
    FROM relation AS r
    CROSS JOIN LATERAL pg_catalog.aclexplode(r.acl) AS x
    UNION ALL
    SELECT r.kind, r.schema, r.name, a.attname::text, r.owner, x.grantee, x.grantor, x.privilege_type, x.is_grantable
    FROM relation AS r
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped
    CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS x
),

-- What a role is for, by this pipeline's ledger and dead letters; and whether it is for another pipeline of the schema, which shares the other tables.
own AS (
    SELECT
        g.grantee,
        pg_catalog.count(DISTINCT g.name) FILTER (WHERE g.privilege_type = 'SELECT') = 2 AS reads,
        pg_catalog.count(DISTINCT g.name || g.privilege_type) FILTER (WHERE g.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')) = 8 AS writes
    FROM given AS g
    WHERE g.kind = 'TABLE' AND g.col = '' AND g.name IN ('ledger_' || $2::text, 'dead_letter_' || $2::text) AND g.grantee <> 0
    GROUP BY g.grantee
),

other AS (
    SELECT x.grantee, pg_catalog.bool_or(x.privilege_type = 'SELECT') AS reads, pg_catalog.bool_or(x.privilege_type = 'UPDATE') AS writes
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS x
    WHERE n.nspname = $1 AND c.relkind = 'r' AND pg_catalog.starts_with(c.relname::text, 'ledger_') AND c.relname <> 'ledger_' || $2::text AND x.grantee <> 0
    GROUP BY x.grantee
),

surplus AS (
    SELECT
        u.kind, u.schema, u.name, u.col, u.grantee, CASE WHEN u.grantor <> u.owner THEN u.grantor END AS grantor, u.privilege_type AS privilege,
        u.privilege_type || CASE WHEN u.col <> '' THEN ' (' || pg_catalog.quote_ident(u.col) || ')' ELSE '' END AS "right"
    FROM given AS u
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = u.grantee
    LEFT JOIN own AS o ON o.grantee = u.grantee
    LEFT JOIN other AS s ON s.grantee = u.grantee AND u.name !~ '^(ledger|dead_letter|vectors)_'
    LEFT JOIN need AS d ON d.name = u.name
    WHERE
        u.grantee <> u.owner AND NOT coalesce(r.rolsuper OR r.rolname = $9::text, false)
        AND NOT (u.kind = 'TABLE' AND u.grantor = u.owner AND coalesce(r.rolname = session_user, false))
        AND NOT coalesce((u.kind = 'VIEW' OR NOT u.is_grantable AND u.grantor = u.owner) AND CASE u.kind
            WHEN 'VIEW' THEN u.privilege_type = 'SELECT'
            WHEN 'SCHEMA' THEN u.privilege_type = 'USAGE' AND (o.reads OR s.reads)
            WHEN 'TABLE' THEN
                u.privilege_type = 'SELECT' AND (coalesce(o.reads, false) OR coalesce(s.reads, false))
                OR (coalesce(o.writes, false) OR coalesce(s.writes, false)) AND (
                    u.privilege_type = ANY (d.whole)
                    OR u.privilege_type = 'INSERT' AND u.col = ANY (d.inserts) OR u.privilege_type = 'UPDATE' AND u.col = ANY (d.updates)
                )
            ELSE false
        END, false)
),

excess AS (
    SELECT
        s.kind, s.schema, s.name, s.grantee, s.grantor, pg_catalog.array_agg(s."right" ORDER BY s."right") AS rights,
        pg_catalog.array_agg(s.privilege ORDER BY s."right") AS privileges, pg_catalog.array_agg(s.col ORDER BY s."right") AS columns
    FROM surplus AS s
    GROUP BY s.kind, s.schema, s.name, s.grantee, s.grantor
)

SELECT
    'for' AS kind, '' AS schema, '{}'::text[] AS names, r.rolname::text AS grantee, '' AS grantor, '{}'::text[] AS rights,
    '{}'::text[] AS privileges, '{}'::text[] AS columns, CASE WHEN o.writes THEN 'streams' ELSE 'reads' END AS purpose
FROM own AS o
JOIN pg_catalog.pg_roles AS r ON r.oid = o.grantee AND r.rolname <> session_user
JOIN given AS g ON g.kind = 'TABLE' AND g.name = 'ledger_' || $2::text AND g.grantee = o.grantee AND g.grantee <> g.owner
WHERE o.reads
GROUP BY o.writes, r.rolname
UNION ALL
SELECT
    e.kind, e.schema, pg_catalog.array_agg(e.name ORDER BY e.name), coalesce(r.rolname::text, ''), coalesce(g.rolname::text, ''), e.rights,
    e.privileges, e.columns,
    CASE WHEN o.writes THEN 'streams' WHEN o.reads THEN 'reads' WHEN s.reads THEN 'other' ELSE '' END
FROM excess AS e
LEFT JOIN own AS o ON o.grantee = e.grantee
LEFT JOIN other AS s ON s.grantee = e.grantee
LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = e.grantee
LEFT JOIN pg_catalog.pg_roles AS g ON g.oid = e.grantor
GROUP BY e.kind, e.schema, r.rolname, g.rolname, e.rights, e.privileges, e.columns, o.writes, o.reads, s.reads
ORDER BY 4, 5, 1, 3
