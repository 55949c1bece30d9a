-- Settings ($1) with their values ($2), as far as the server knows them. Nothing is looked up in a search path that a role has set.
SELECT pg_catalog.set_config(s.name, w.value, false)
FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS w (name, value)
JOIN pg_catalog.pg_settings AS s ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) pg_catalog.lower(w.name)
