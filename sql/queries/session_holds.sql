-- Which of the settings ({{.Names}}) have not the values ({{.Values}}) that they had when they were set, and which server process answers. Nothing is looked up in
-- the search path.
SELECT
    pg_catalog.array_to_string(
        ARRAY(
            SELECT w.name
            FROM ROWS FROM (pg_catalog.unnest({{.Names}}::pg_catalog.text[]), pg_catalog.unnest({{.Values}}::pg_catalog.text[])) AS w (name, value)
            WHERE coalesce(pg_catalog.current_setting(w.name, true), '') OPERATOR(pg_catalog.<>) w.value
        ), ', '
    ),
    pg_catalog.pg_backend_pid()
