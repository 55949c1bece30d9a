-- What this role may do with relations of wal2vec's schema ($1) that are none of its pipeline's ($2): each right with the column that it is on, and which
-- role was given it (none for PUBLIC), by whom, where that is another than the owner. A right that no grant tells comes with a role of the server itself. Who
-- was given another pipeline has a right on its ledger and on its dead letters, and may have the same one on its vectors.
WITH excess AS (
    SELECT c.oid, c.relname, c.relowner, c.relacl, r.name, r.place
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    CROSS JOIN pg_catalog.unnest(
        ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
        || CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 170000 THEN ARRAY['MAINTAIN'] ELSE '{}' END
    ) WITH ORDINALITY AS r (name, place)
    CROSS JOIN LATERAL (
        SELECT coalesce(
            pg_catalog."substring"(c.relname::text, '^ledger_(.*)$'), pg_catalog."substring"(c.relname::text, '^dead_letter_(.*)$'),
            pg_catalog."substring"(c.relname::text, '^vectors_(.*)_[0-9]+$')
        ) AS name
    ) AS p
    WHERE
        n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname <> ALL ($2::text[]) AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
        AND CASE
            WHEN r.name IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') THEN pg_catalog.has_any_column_privilege(c.oid, r.name)
            ELSE pg_catalog.has_table_privilege(c.oid, r.name)
        END
        AND NOT (r.name IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') AND 2 = (
            SELECT pg_catalog.count(*)
            FROM pg_catalog.pg_class AS o
            WHERE
                o.relnamespace = c.relnamespace AND o.relname IN ('ledger_' || p.name, 'dead_letter_' || p.name)
                AND pg_catalog.has_table_privilege(o.oid, 'SELECT') AND pg_catalog.has_table_privilege(o.oid, r.name)
        ))
)

SELECT
    e.relname::text, pg_catalog.array_agg(e.name ORDER BY e.place, g.col), pg_catalog.array_agg(coalesce(g.col, '') ORDER BY e.place, g.col),
    g.grantee IS NOT NULL, CASE WHEN g.grantee <> 0 THEN pg_catalog.pg_get_userbyid(g.grantee)::text ELSE '' END,
    CASE WHEN g.grantor <> e.relowner THEN pg_catalog.pg_get_userbyid(g.grantor)::text ELSE '' END
FROM excess AS e
LEFT JOIN LATERAL (
    SELECT '' AS col, x.grantee, x.grantor
    FROM pg_catalog.aclexplode(e.relacl) AS x
    WHERE x.privilege_type = e.name AND (x.grantee = 0 OR pg_catalog.pg_has_role(x.grantee, 'USAGE'))
    UNION ALL
    SELECT a.attname::text, x.grantee, x.grantor
    FROM pg_catalog.pg_attribute AS a
    CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS x
    WHERE
        a.attrelid = e.oid AND NOT a.attisdropped AND x.privilege_type = e.name AND (x.grantee = 0 OR pg_catalog.pg_has_role(x.grantee, 'USAGE'))
) AS g ON true
GROUP BY e.relname, e.relowner, g.grantee, g.grantor
ORDER BY e.relname, 5, 6
