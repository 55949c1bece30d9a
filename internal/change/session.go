package change

// SessionParameters returns the settings of every session that reads source rows, on the replication connection and on
// ordinary ones, as a new map. A row has one text form, and with it one hash, only if both paths print it under the same
// settings; what a role or a database sets by itself must not tell them apart.
func SessionParameters() map[string]string {
	return map[string]string{
		"client_encoding":    "UTF8",
		"DateStyle":          "ISO",
		"IntervalStyle":      "postgres",
		"TimeZone":           "UTC",
		"extra_float_digits": "1", // the default since PostgreSQL 12: the shortest text that reads back as the same number
		"bytea_output":       "hex",
		"lc_monetary":        "C", // how money prints
		// regclass and the like print a schema only when the path does not find the object.
		"search_path":           "pg_catalog",
		"quote_all_identifiers": "off",
		// Idle is normal for these connections; a role's own limits must not cut them.
		"idle_session_timeout":                "0",
		"idle_in_transaction_session_timeout": "0",
	}
}
