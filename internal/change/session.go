package change

// SessionParameters returns the settings of every session, on the replication connection and on
// ordinary ones, as a new map: those that every server version knows. What a role or a database
// sets by itself must not decide what a statement of ours means, or when it ends. A row has one
// text form, and with it one hash, only if stream and backfill print it under the same settings.
//
// default_transaction_read_only is not among them: where it is set, a person or a guard of the disk
// wants no writes for now.
func SessionParameters() map[string]string {
	return map[string]string{
		// As whom a statement runs: who may alter a database or a role could otherwise have every
		// session act as a role of theirs, which then counts as this one. See pgsession.Parameters
		// for who names a role in a connection string.
		"role": "none",
		// What a text is.
		"client_encoding":    "UTF8",
		"DateStyle":          "ISO",
		"IntervalStyle":      "postgres",
		"TimeZone":           "UTC",
		"extra_float_digits": "1", // the default since PostgreSQL 12: the shortest text that reads back as the same number
		"bytea_output":       "hex",
		"lc_monetary":        "C", // how money prints
		"xmlbinary":          "base64",
		"xmloption":          "content",
		// regclass and the like print a schema only when the path does not find the object.
		"search_path":           "pg_catalog",
		"quote_all_identifiers": "off",
		// How a statement is read.
		"standard_conforming_strings": "on",
		"array_nulls":                 "on",
		"transform_null_equals":       "off",
		"backslash_quote":             "safe_encoding",
		"row_security":                "on",
		"gin_fuzzy_search_limit":      "0", // else a filter that has a GIN index finds some of the rows
		// The planner calls immutable functions of a table's CHECKs, whatever role made them, to
		// find out whether they hold.
		"constraint_exclusion": "off",
		// A GRANT or REVOKE that did nothing, or a part, is a warning alone; see statement.Note.
		"client_min_messages": "notice", // the default: pgvector tells by one that an index outgrows its memory
		// An error says what failed, never with which texts.
		"log_parameter_max_length_on_error": "0",
		// Idle is normal for these connections, and so is a long decoding, load or build: a role's
		// own limits must not cut them. What needs a limit has one of its own.
		"idle_session_timeout":                "0",
		"idle_in_transaction_session_timeout": "0",
		"statement_timeout":                   "0",
		"lock_timeout":                        "0",
		"exit_on_error":                       "off",
		// The protocol counts on each statement's seeing what was committed before it.
		"default_transaction_isolation":  "read committed",
		"default_transaction_deferrable": "off",
	}
}

// LaterSessionParameters are settings that only some servers know: they are set where there are
// such, since a server refuses a session that begins with a setting that it does not know.
func LaterSessionParameters() map[string]string {
	return map[string]string{
		"transaction_timeout": "0", // 17 and later; of a walsender, decoding is a transaction
	}
}

// SinkParameters are the further settings of the sink's sessions, by which the server ends those of
// a process that has stopped, or whose machine is gone, with the locks that they keep. No
// transaction of ours in the sink is open while texts are encoded or the source is read: between
// two of its statements lie milliseconds. What the server waits for is the next message after an
// answer, which is a short one, not the whole of a batch.
func SinkParameters() map[string]string {
	return map[string]string{
		"idle_in_transaction_session_timeout": "1min",
		// A client's machine that does not acknowledge: found after a minute where we send nothing,
		// and where the server's own answer is on its way. A session without TCP takes them, and
		// leaves them out.
		"tcp_keepalives_idle":     "30",
		"tcp_keepalives_interval": "10",
		"tcp_keepalives_count":    "3",
		"tcp_user_timeout":        "60000",
	}
}
