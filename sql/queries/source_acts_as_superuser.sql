-- Whether a role ($1) is a superuser, or may act as one.
SELECT EXISTS (
    SELECT
    FROM pg_catalog.pg_roles AS s
    WHERE s.rolsuper
      AND pg_catalog.pg_has_role($1::name, s.oid, 'MEMBER')
)
