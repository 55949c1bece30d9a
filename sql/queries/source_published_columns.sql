-- The columns that the publication ($1) lists for the table ($2, an object id), sorted; NULL where it lists none by name, or has not the table.
SELECT (
    SELECT CASE
        WHEN pg_catalog.jsonb_typeof(pg_catalog.to_jsonb(r) -> 'prattrs') = 'array' THEN ARRAY(
            SELECT a.attname::text
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = r.prrelid AND pg_catalog.to_jsonb(r) -> 'prattrs' @> pg_catalog.to_jsonb(a.attnum)
            ORDER BY a.attname::text COLLATE "C"
        )
    END
    FROM pg_catalog.pg_publication AS p
    JOIN pg_catalog.pg_publication_rel AS r ON r.prpubid = p.oid
    WHERE p.pubname = $1 AND r.prrelid = $2
)
