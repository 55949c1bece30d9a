-- The name of a table that the publication ($1) lists by itself, by its object id ($2), and the publication's owner; none where it does not, or has gone. Where the publication lists
-- more than this one and the one that took its place ($3), only a table that wal2vec noted in the publication's comment.
SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_userbyid(p.pubowner)::text
FROM pg_catalog.pg_publication AS p
JOIN pg_catalog.pg_publication_rel AS r ON r.prpubid = p.oid
JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.pubname = $1
  AND c.oid = $2
  AND (
      NOT EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS o WHERE o.prpubid = p.oid AND o.prrelid NOT IN ($2, $3))
      OR c.oid::text = ANY (pg_catalog.string_to_array(
          pg_catalog.substring(pg_catalog.obj_description(p.oid, 'pg_publication'), '(?:^|\n)wal2vec tables: ([0-9 ]*)$'), ' '
      ))
      AND pg_catalog.pg_has_role(p.pubowner, c.relowner, 'USAGE')
  )
