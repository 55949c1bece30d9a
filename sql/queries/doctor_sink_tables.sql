-- The relations of wal2vec's schema ($1) by name ($2): whether they are there, logged, whether this role has each right that it needs there, and
-- what it may do further. It needs rights on whole tables ($3, with commas), to insert some columns ($4) and to update some ($5).
SELECT
    w.name,
    c.oid IS NOT NULL,
    coalesce(c.relpersistence = 'p', true),
    coalesce((
        SELECT pg_catalog.bool_and(pg_catalog.has_table_privilege(c.oid, n.need))
        FROM pg_catalog.unnest(pg_catalog.string_to_array(w.needs, ',')) AS n (need)
    ), true) AND coalesce((
        SELECT pg_catalog.bool_and(pg_catalog.has_column_privilege(c.oid, n.name, n.need))
        FROM (
            SELECT i.name, 'INSERT' AS need FROM pg_catalog.unnest(pg_catalog.string_to_array(w.inserts, ',')) AS i (name)
            UNION ALL
            SELECT u.name, 'UPDATE' FROM pg_catalog.unnest(pg_catalog.string_to_array(w.updates, ',')) AS u (name)
        ) AS n
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = n.name AND NOT a.attisdropped
    ), true),
    ARRAY(
        SELECT r.name
        FROM pg_catalog.unnest(
            ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
            || CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 170000 THEN ARRAY['MAINTAIN'] ELSE '{}' END
        ) AS r (name)
        WHERE pg_catalog.has_table_privilege(c.oid, r.name) AND r.name <> ALL (pg_catalog.string_to_array(w.needs, ','))
    ) || ARRAY(
        SELECT pg_catalog.format('%s (%s)', p.name, pg_catalog.string_agg(a.attname, ', ' ORDER BY a.attnum))
        FROM (VALUES ('INSERT', w.inserts), ('UPDATE', w.updates)) AS p (name, columns)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE
            NOT pg_catalog.has_table_privilege(c.oid, p.name) AND pg_catalog.has_column_privilege(c.oid, a.attnum, p.name)
            AND a.attname <> ALL (pg_catalog.string_to_array(p.columns, ','))
        GROUP BY p.name
        ORDER BY p.name
    ),
    coalesce(pg_catalog.pg_has_role(c.relowner, 'USAGE'), true),
    coalesce(pg_catalog.pg_get_userbyid(c.relowner)::text, ''),
    current_user::text
FROM ROWS FROM (
    pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]), pg_catalog.unnest($5::text[])
) WITH ORDINALITY AS w (name, needs, inserts, updates, place)
LEFT JOIN (
    pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
) ON c.relname = w.name
ORDER BY w.place
