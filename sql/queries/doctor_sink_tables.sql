-- The relations of wal2vec's schema ($1) by name ($2): whether they are there, logged, whether this role has each right that it needs there ($3,
-- with commas), and the further rights that it has. INSERT and UPDATE are needed of some column at least where other rights say nothing of whole rows.
SELECT
    w.name,
    c.oid IS NOT NULL,
    coalesce(c.relpersistence = 'p', true),
    coalesce((
        SELECT pg_catalog.bool_and(CASE n.need
            WHEN 'UPDATE' THEN pg_catalog.has_any_column_privilege(c.oid, 'UPDATE')
            WHEN 'INSERT' THEN pg_catalog.has_any_column_privilege(c.oid, 'INSERT')
            ELSE pg_catalog.has_table_privilege(c.oid, n.need)
        END)
        FROM pg_catalog.unnest(pg_catalog.string_to_array(w.needs, ',')) AS n (need)
    ), true),
    ARRAY(
        SELECT r.name
        FROM pg_catalog.unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS r (name)
        WHERE
            pg_catalog.has_table_privilege(c.oid, r.name)
            AND NOT (r.name = ANY (pg_catalog.string_to_array(w.needs, ',')) AND (r.name <> 'UPDATE' OR w.needs LIKE '%DELETE%'))
    ),
    coalesce(pg_catalog.pg_has_role(c.relowner, 'USAGE'), true),
    coalesce(pg_catalog.pg_get_userbyid(c.relowner)::text, ''),
    current_user::text
FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) WITH ORDINALITY AS w (name, needs, place)
LEFT JOIN (
    pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = $1
) ON c.relname = w.name
ORDER BY w.place
