-- Fails, by a division by zero, where a column of the table ($1, $2) has another type than it had when it was looked at (names $3, types $4), or was not
-- there then and is of a type that is not the server's own; where the table is of another kind ($5) or has children by inheritance (see source_reader);
-- where it is not the table of that object id ($7, 0 for whichever has the name); and, unless its owner is trusted ($6) or could act as this session anyway,
-- where this session may read no column of it, since to plan a read runs the owner's code before the server asks for rights, or where the owner of the
-- publication ($8), if that is there, has not the rights of the table's.
SELECT 1 / (CASE WHEN pg_catalog.count(*) = 0 THEN 1 ELSE 0 END)
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN ROWS FROM (pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::oid[])) AS known (name, type) ON known.name = a.attname
WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped
  AND (
      CASE WHEN known.name IS NULL THEN a.atttypid >= 16384 ELSE a.atttypid <> known.type END
      OR c.relkind::text <> $5
      OR c.relkind <> 'p' AND c.relhassubclass AND EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = c.oid)
      OR $7::oid NOT IN (0, c.oid)
      OR NOT $6::boolean AND NOT pg_catalog.pg_has_role(c.relowner, SESSION_USER, 'MEMBER') AND (
          NOT pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
          OR EXISTS (SELECT FROM pg_catalog.pg_publication AS p WHERE p.pubname = $8 AND NOT pg_catalog.pg_has_role(p.pubowner, c.relowner, 'MEMBER'))
      )
  )
