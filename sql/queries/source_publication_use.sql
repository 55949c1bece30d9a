-- Whether this role may write the comment of the publication ($1), and which of the slots ($2) are in this database: a comment that was restored from a
-- dump names those of another one.
SELECT
    EXISTS (SELECT FROM pg_catalog.pg_publication AS p WHERE p.pubname = $1 AND pg_catalog.pg_has_role(p.pubowner, 'USAGE')),
    ARRAY(
        SELECT s.slot_name::text
        FROM pg_catalog.pg_replication_slots AS s
        WHERE s.slot_name = ANY ($2::text[]) AND s.database = pg_catalog.current_database()
        ORDER BY 1
    )
