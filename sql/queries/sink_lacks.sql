-- Which rights that a role ($1) was to get it has not: on relations (their names, quoted: $2) each of the rights $3, as a list with commas.
SELECT n.need, w.name
FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) AS w (name, needs)
CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.string_to_array(w.needs, ',')) AS n (need)
WHERE NOT pg_catalog.has_table_privilege($1::text, w.name, n.need)
ORDER BY 2, 1
