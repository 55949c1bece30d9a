-- Notes, for the rest of the transaction, which relations the schema has: what a migration makes is not among them.
SELECT pg_catalog.set_config('wal2vec.made_before', (
    SELECT pg_catalog.string_agg(c.oid::pg_catalog.text, ' ')
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = {{.Schema}}
), true)
