-- Settings ({{.Names}}) with their values ({{.Values}}), in their order, as far as the server knows them and a session that runs can set them. Those of who
-- acts are ones that pg_settings does not show, and so are those with a dot that no library has defined. Tells what each is now, and which server process
-- answers; in another one than {{.Process}} (0 is any) they go with this statement, since that is a pooler's and others use it too. Nothing is looked up in
-- a search path that a role or a database has set, no type either.
SELECT
    w.name,
    pg_catalog.set_config(
        w.name, w.value,
        {{.Process}}::pg_catalog.int8 OPERATOR(pg_catalog.<>) 0
        AND {{.Process}}::pg_catalog.int8 OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
    ),
    pg_catalog.pg_backend_pid()
FROM ROWS FROM (pg_catalog.unnest({{.Names}}::pg_catalog.text[]), pg_catalog.unnest({{.Values}}::pg_catalog.text[])) AS w (name, value)
WHERE
    w.name OPERATOR(pg_catalog.=) 'role'
    OR w.name OPERATOR(pg_catalog.=) 'session_authorization'
    OR w.name OPERATOR(pg_catalog.=) ANY (
        SELECT pg_catalog.lower(s.name)
        FROM pg_catalog.pg_settings AS s
        WHERE s.context OPERATOR(pg_catalog.=) 'user' OR s.context OPERATOR(pg_catalog.=) 'superuser'
    )
    OR pg_catalog.strpos(w.name, '.') OPERATOR(pg_catalog.>) 0
    AND w.name OPERATOR(pg_catalog.<>) ALL (SELECT pg_catalog.lower(s.name) FROM pg_catalog.pg_settings AS s)
