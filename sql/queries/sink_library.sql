-- The version of pgvector's files on the sink's server; where they cannot be seen, that of the extension; empty where there is neither.
SELECT coalesce(
    (SELECT a.default_version FROM pg_catalog.pg_available_extensions AS a WHERE a.name = 'vector'),
    (SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname = 'vector'),
    ''
)
