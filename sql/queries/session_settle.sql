-- Settings ($1) with their values ($2), as far as the server knows them; the role is one that pg_settings does not show. Nothing is looked up in a search
-- path that a role or a database has set, no type either.
SELECT pg_catalog.set_config(w.name, w.value, false)
FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS w (name, value)
WHERE
    w.name OPERATOR(pg_catalog.=) 'role'
    OR EXISTS (SELECT FROM pg_catalog.pg_settings AS s WHERE pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) pg_catalog.lower(w.name))
