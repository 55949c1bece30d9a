#!/usr/bin/env bash
# PostgreSQL 19rc1: REPACK, as VACUUM FULL and CLUSTER do, writes another file (relfilenode) and keeps the table's TOAST table, by its object id. REPACK
# (CONCURRENTLY) gives the table another TOAST table, as an ALTER TABLE that rewrites it does, and as SET UNLOGGED and SET LOGGED do. So a reader of the catalogue
# that tells by reltoastrelid a table that was compacted from one that was altered, takes a concurrent REPACK for the latter, although no row has changed.
# Seen: "another file, same TOAST table" for the first three, "another file, another TOAST table" for the concurrent one.
source "${BASH_SOURCE[0]%/*}/server19.bash"
start_server19 19~rc1-1

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
rows() { sql "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t"; }
before=$(rows)
after "VACUUM FULL t" "another file, same TOAST table"
after "CLUSTER t USING t_pkey" "another file, same TOAST table"
after "REPACK t" "another file, same TOAST table"
after "REPACK (CONCURRENTLY) t" "another file, another TOAST table"
expect "the rows are as they were" "$([ "$(rows)" = "$before" ] && echo yes)" "yes"
