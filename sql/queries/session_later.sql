-- change.LaterSessionParameters, for a connection that takes no parameters.
SELECT pg_catalog.set_config(s.name, '0', false)
FROM pg_catalog.pg_settings AS s
WHERE s.name OPERATOR(pg_catalog.=) 'transaction_timeout'
