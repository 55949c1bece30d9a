package doctor

// Check is a question that the doctor asks.
type Check struct {
	// Name stays the same from version to version.
	Name string
	// Bad are the statuses of its findings other than ok and skip.
	Bad []Status
	// Asks is the question; its answer is yes where all is well. Else says what follows where it is
	// not.
	Asks, Else string
}

func fails(name, asks, otherwise string) Check { return Check{name, []Status{Fail}, asks, otherwise} }

func warns(name, asks, otherwise string) Check { return Check{name, []Status{Warn}, asks, otherwise} }

// Checks lists every check in the order of the report.
func Checks() []Check {
	var all []Check
	for _, part := range [][]Check{configChecks, sourceChecks, tableChecks, slotChecks, sinkChecks, pipelineChecks, modelChecks} {
		all = append(all, part...)
	}
	return all
}

var configChecks = []Check{
	fails("config.load", "Do the settings load, and agree with one another?", "No command runs."),
	warns("config.secrets", "Are files that hold settings and passwords closed to other users?", "Other users of the machine can read or change them."),
	warns("config.http", "Does every client of the HTTP address need a token?", "Status and metrics are open to the network."),
}

var sourceChecks = []Check{
	fails("source.reach", "Does the source let us in?", "Nothing works. A server that does not answer at all is a skip."),
	{
		"source.direct",
		[]Status{Fail, Warn},
		"Does the connection lead to the server itself, not to a pooler?",
		"A pooler takes no replication connection, and loses a session's settings: every command refuses it unless source.dsn says that it keeps sessions.",
	},
	fails("source.session", "Do the session settings take effect that make texts and hashes alike?",
		"Stream and backfill render values differently, and hash differently."),
	warns("source.encoding", "Has every text of the source a form in UTF-8?", "A row with a text that has none becomes a dead letter."),
	warns("source.tls", "Is the connection encrypted, or local?", "Rows and passwords cross the network in the clear."),
	{
		"source.version",
		[]Status{Fail, Warn},
		"Is the server PostgreSQL 14 to 19?",
		"An older one lacks what wal2vec uses; a newer one was not tried.",
	},
	fails("source.primary", "Is it a primary?", "A standby cannot be followed."),
	{"source.provider", nil, "Which managed service is it, and is this role a superuser?", ""},
	warns("source.clock", "Do the clocks of source and machine agree?", "Ages in reports and logs are wrong by as much."),
	fails("source.wal_level", "Is wal_level logical, or, from PostgreSQL 19 on, replica?", "There is nothing to decode."),
	fails("source.slots", "Is a replication slot free for init?", "The slot cannot be made."),
	fails("source.senders", "Is a WAL sender free for the stream?", "The stream cannot connect."),
	warns("source.wal_limit", "Does max_slot_wal_keep_size bound the log that slots hold back?", "A stopped stream fills the source's disk."),
	warns("source.idle_slots", "Are slots kept however long no process reads them?",
		"idle_replication_slot_timeout drops the slot of a stream that was stopped: a gap."),
	warns("source.sender_timeout", "Is wal_sender_timeout between 5 s and an hour?",
		"Shorter, pauses cut the stream; without one, the slot of a dead stream stays taken."),
	fails("source.synchronous", "Is a standby there for synchronous_standby_names?",
		"Commits stay invisible, and the watermark stands still."),
	warns("source.transactions", "Is no transaction open for long?",
		"The server keeps its log and dead rows; a slot cannot be made in the meantime."),
	warns("source.prepared", "Is no prepared transaction left behind?", "As for an open transaction, and it survives restarts."),
	warns("source.other_slots", "Does no other slot hold back much log unread?", "The source's disk fills."),
	{
		"role.replication",
		[]Status{Fail, Warn},
		"May the role open a replication connection? A role that only searches need not.",
		"The stream cannot connect.",
	},
	warns("role.monitor", "Does the role see the sessions of others?",
		"Open transactions, standbys and readers of the slot of other roles are not seen by these checks."),
	warns("role.owner", "May the role follow a table that is replaced: as the owner of table and publication, or by init's function?",
		"A replaced table is a gap."),
	warns("role.swap", "Can the function that follows swapped tables do nothing but what the table's owner may, and publish what is published?",
		"The owner of the table acts with the rights of the role that it runs as, or the next table is published whole."),
	warns("role.future", "May the role read tables that the owner will make in the schema, as dbt does?",
		"A table that is built again is not readable."),
	{
		"role.read",
		[]Status{Fail, Warn},
		"Does the role that reads rows get into the source's database, and may it read tables of this owner alone, and not replicate?",
		"No row is read; or the table's owner, whose functions a read calls, reads other owners' tables by it.",
	},
	warns("role.power", "Has the role no attribute and no membership that reaches beyond the table, and may no other role make itself a member of it?",
		"Any client that has its password can do more than stream; another role can act as it."),
	warns("role.source", "May the role do nothing with table, schema and database, nor with later tables, but read columns?",
		"Any client that has its password can change or drop the data, or read more of it."),
	warns("role.cluster", "Does pg_hba.conf keep the role to its database, and from physical replication connections?",
		"Any client that has its password can copy the whole server with pg_basebackup, or enter other databases."),
}

var tableChecks = []Check{
	fails("table.relation", "Is the table there, of a kind that the log carries, and readable?", "It cannot be followed."),
	fails("table.columns", "Are the columns of key, template and soft delete there, readable and published?", "Texts cannot be rendered."),
	fails("table.key", "Has the table a unique index on exactly the key, neither partial nor deferrable?", "Two rows could be one key."),
	fails("table.identity", "Does its replica identity hold the key?",
		"Updates and deletes do not name their row, or fail in the application."),
	warns("table.partitions", "Is it not partitioned?",
		"TRUNCATE of one partition is in no log that names the table: its rows stay until the next backfill."),
	warns("table.code", "Does a read of it call built-in functions and the reader's own alone?",
		"Who owns such a function acts with the rights of each role that reads the table."),
	{
		"publication.present",
		[]Status{Fail, Warn},
		"Does the publication carry the table that has the name now?",
		"The stream gets nothing: a gap, unless it follows.",
	},
	fails("publication.complete", "Does it carry all operations, rows and columns?", "Changes are left out."),
	fails("publication.owner", "Does it belong to this role, a superuser, or a role with the rights of the table's owner?",
		"Its owner can take the table out of it, which is a gap."),
	warns("publication.others", "Does it carry no other table?", "Their changes are decoded, sent and dropped."),
}

var slotChecks = []Check{
	fails("slot.usable", "Can the slot bring everything after the watermark?", "A gap: rows may differ until a resync."),
	{"slot.kind", []Status{Fail, Warn}, "Is it permanent, without two-phase decoding?", "A temporary slot ends with its session."},
	fails("slot.reader", "Is the process that reads it wal2vec?", "Another program takes the changes."),
	warns("slot.retained", "Does it hold back less than half of stream.retained_limit?",
		"The source's disk fills as long as the stream is behind."),
	warns("slot.budget", "Is more than half of max_slot_wal_keep_size left?", "The server drops the log that the slot needs: a gap."),
	warns("slot.failover", "Does a standby have the slot when it is promoted?", "A promotion is a gap."),
}

var sinkChecks = []Check{
	fails("sink.reach", "Does the sink let us in?", "Nothing works. A server that does not answer at all is a skip."),
	{
		"sink.direct",
		[]Status{Fail, Warn},
		"Does the connection lead to the server itself, not to a pooler?",
		"A pooler by transaction loses a session's settings and locks: every command refuses it unless the connection string says that it keeps sessions.",
	},
	{
		"sink.encoding",
		[]Status{Fail, Warn},
		"Is the sink's encoding UTF8, or the source's?",
		"A text key that the sink does not take ends the stream; so does a column's or an enum's name.",
	},
	warns("sink.tls", "Is the connection encrypted, or local?", "Vectors and passwords cross the network in the clear."),
	{
		"sink.version",
		[]Status{Fail, Warn},
		"Is the server PostgreSQL 16 to 19?",
		"An older one lacks what wal2vec uses; a newer one was not tried.",
	},
	fails("sink.writable", "Can it be written?", "Nothing can be committed."),
	warns("sink.durable", "Are fsync and full_page_writes on?",
		"After a crash the sink may be behind what the slot has confirmed, or corrupt."),
	warns("sink.clock", "Do the clocks of sink and machine agree?", "Ages in reports and logs are wrong by as much."),
	{
		"sink.pgvector",
		[]Status{Fail, Warn},
		"Is pgvector 0.8 or later installed, one whose vacuum keeps indexes whole (0.8.4), in a schema of a trusted role?",
		"There are no vectors, searches miss some, or another role can drop all.",
	},
	{
		"sink.owner",
		[]Status{Fail, Warn},
		"Do the schema, wal2vec's tables, their foreign keys and the view belong to this role, a superuser, or sink.owner, and are the view and " +
			"what is on the tables (policies, triggers, rules, CHECKs, defaults, indexes, types) what `init` writes?",
		"Their owner, or the role that owned them before, can run code with the rights of the role that reads them: every command refuses the tables.",
	},
	fails("sink.schema", "Are wal2vec's tables of this version?", "Every command refuses."),
	fails("sink.tables", "Are ledger and vector tables there?", "Nothing can be written."),
	fails("sink.logged", "Are they logged?", "A crash empties them while the watermark stays."),
	fails("sink.rights", "May the role write them?", "Nothing can be committed."),
	warns("sink.least", "May this role do no more than it must, and no other more than init gave?", "Who gets hold of it can act for others. "+
		"What another role than the owner gave is taken as that role: the owner's `REVOKE` leaves it."),
	fails("sink.view", "Does the view show the active generation?", "Queries through it fail, or read old vectors."),
	warns("sink.index", "Has every large generation a valid index?", "Searches compare every vector."),
}

var pipelineChecks = []Check{
	fails("pipeline.registered", "Is the pipeline set up?", "There is nothing to stream."),
	fails("pipeline.settings", "Is it set up for the configured table, key, slot and publication?", "The stream refuses."),
	{
		"pipeline.history",
		[]Status{Fail, Warn},
		"Is the source the server that the watermark belongs to, on its timeline?",
		"A gap: rows may differ until a resync.",
	},
	warns("pipeline.stream", "Does a stream run, and report?", "Changes wait in the source's log."),
	fails("pipeline.lock", "Does no session of the sink keep a lock that the stream waits for?", "Nothing is written until it lets go. "+
		"A session counts as the stream's by its role, which has to be doctor's own or one that may write the pipeline's ledger; "+
		"its application name alone says nothing."),
	warns("pipeline.lag", "Is the oldest change that waits young?", "Searches are that far behind."),
	warns("pipeline.partial", "Do all rows in the sink show the source at the watermark?",
		"Some rows are newer than the watermark says, until it reaches partial_until."),
	warns("pipeline.jobs", "Is every open backfill being worked on?", "Rows are not refreshed, and tombstones are kept."),
	warns("pipeline.backfill", "Has a backfill read every row of the source?", "Searches miss the rows that have not changed since init."),
	warns("pipeline.coverage", "Has every live row the vector of its text?", "Searches miss rows."),
	warns("pipeline.dead_letters", "Could every text be encoded?", "Searches miss rows."),
	warns("pipeline.tombstones", "Are there fewer tombstones than rows?", "Something keeps them: the ledger grows."),
	warns("pipeline.generations", "Is no generation half built or kept without need?", "It is written with every change, or was given up."),
}

var modelChecks = []Check{
	fails("model.parts", "Are ONNX Runtime and the model here?", "Nothing can be encoded."),
	fails("model.fingerprint", "Did the configured model and template make the vectors?", "Stream and search refuse."),
	fails("model.selftest", "Does the model pass its self-test on this machine, and is its graph in the cache what the checkpoint gives?",
		"Nothing is written or searched."),
	warns("model.speed", "Do wal2vec's own operators run where they can?", "Encoding takes longer."),
}

// ProbeChecks are those of a probe, which are made only when somebody asks for them. One that comes
// to no end in time is a skip.
func ProbeChecks() []Check {
	return []Check{
		fails("probe.stream", "Does a stream run that can answer?", "There is nothing to probe."),
		{
			"probe.log", nil, "Does the watermark pass a message that is written into the source's log now?",
			"The slot or the stream stands still.",
		},
		fails("probe.write", "May the role update a row of the table to what it is?", "No row is sent."),
		fails("probe.row", "Does the row arrive in the ledger?", "The publication, the stream or the sink lets it go."),
		fails("probe.search", "Does a search for its text find it?", "The vectors are of other texts, or the index has not all of them."),
	}
}
