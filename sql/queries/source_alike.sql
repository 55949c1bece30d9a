-- The tables and views whose name, but for capitals, is $2, in the schema $1 or, where that is empty, in any.
SELECT
    n.nspname::text,
    c.relname::text
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE
    c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND pg_catalog.lower(c.relname) = pg_catalog.lower($2::text)
    AND ($1::text = '' OR pg_catalog.lower(n.nspname) = pg_catalog.lower($1::text))
ORDER BY c.relname <> $2::text, 1, 2
LIMIT 20
