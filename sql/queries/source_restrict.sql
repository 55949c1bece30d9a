-- A view runs the functions of its owner with the rights of who reads it, and a foreign table is answered by whatever server its owner names, which the
-- server may log in to as who reads. Servers of 2024 and later can refuse both altogether.
SELECT pg_catalog.set_config(s.name, 'view, foreign-table', false)
FROM pg_catalog.pg_settings AS s
WHERE s.name = 'restrict_nonsystem_relation_kind'
