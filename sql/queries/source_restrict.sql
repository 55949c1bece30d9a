-- A view runs the functions of its owner with the rights of who reads it. Servers of 2024 and later can refuse views altogether.
SELECT pg_catalog.set_config(s.name, 'view', false)
FROM pg_catalog.pg_settings AS s
WHERE s.name = 'restrict_nonsystem_relation_kind'
