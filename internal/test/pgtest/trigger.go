package pgtest

// ServersOwn returns the statements by which a superuser makes the triggers on a table (its name
// with schema) the server's own, as those of foreign keys are: wal2vec refuses all others on its
// tables, and tests watch and obstruct by them.
func ServersOwn(table string) string {
	return "SET allow_system_table_mods = on; UPDATE pg_catalog.pg_trigger SET tgisinternal = true WHERE tgrelid = '" + table +
		"'::pg_catalog.regclass; RESET allow_system_table_mods"
}
