package config

import (
	"strings"

	"github.com/wal2vec/wal2vec/internal/change"
)

const envPrefix = "WAL2VEC_"

// setting binds one field of a Config to its names and its rule.
type setting struct {
	path  string // in YAML, with dots
	help  string // what it does, with unit; goes into the reference file and --help
	value value
	// empty says what an empty value means. Where it is "", an empty value is a fault, and an empty
	// environment variable counts as not set.
	empty string
	// file is true when PATH_file may name a file that holds the value.
	file bool
	// ml is the variable of the usual embedding scripts that sets it too.
	ml   string
	rule rule
}

// env returns the name of the environment variable: source.slot_wait is WAL2VEC_SOURCE_SLOT_WAIT.
func (s setting) env() string { return Variable(s.path) }

// Variable returns the name of the environment variable of a setting, named by its path.
func Variable(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// settings lists every setting of c in the order of the reference file.
func (c *Config) settings() []setting {
	list := []setting{{
		path: "pipeline", value: (*text)(&c.Pipeline), rule: pipelineName(&c.Pipeline),
		help: "Name of this pipeline: part of wal2vec's table names, and of the names of slot, publication and view unless they are named.",
	}}
	list = append(list, c.Source.settings()...)
	list = append(list, c.Sink.settings()...)
	list = append(list, c.Encoder.settings()...)
	list = append(list, c.Stream.settings()...)
	list = append(list, c.Backfill.settings()...)
	list = append(list, c.HTTP.settings()...)
	return append(list, c.Log.settings()...)
}

func (s *Source) settings() []setting {
	return []setting{{
		path: "source.dsn", value: dsn{&s.DSN}, empty: "libpq's PGHOST, PGDATABASE and so on", file: true,
		help: "Source database: postgres://user@host:5432/database, or host=HOST dbname=DATABASE user=USER.",
	}, {
		path: "source.read_dsn", value: dsn{&s.ReadDSN}, empty: "source.dsn", file: true,
		help: "The source database for the role that reads rows of the table, which needs no REPLICATION. What the owner of the table puts into its " +
			"indexes runs with the rights of this role.",
	}, {
		path: "source.table", value: nameValue{&s.Table},
		help: "Table to follow, as schema.table; double quotes keep capitals and odd characters.",
	}, {
		path: "source.key", value: columns{&s.Key}, rule: columnList(&s.Key),
		help: "Key columns, spelt as in the catalogue; a unique index must cover exactly these. In the environment: a,b.",
	}, {
		path: "source.template", value: template{&s.Template},
		help: "Text of a row: column names in braces. A NULL or blank column drops out with its label (docs/template.md); {{ and }} stand for braces, " +
			`and a column's name that holds one is written {"a}b"}.`,
	}, {
		path: "source.soft_delete", value: (*text)(&s.SoftDelete), empty: "there is none", rule: optionalName(&s.SoftDelete),
		help: "Column that marks a row as deleted: true, or not NULL where it is no boolean.",
	}, {
		path: "source.slot", value: (*text)(&s.Slot), rule: slotName(&s.Slot),
		help: "Replication slot; wal2vec_ and the pipeline's name unless named here.",
	}, {
		path: "source.publication", value: (*text)(&s.Publication), rule: objectName(&s.Publication),
		help: "Publication; wal2vec_ and the pipeline's name unless named here.",
	}, {
		path: "source.slot_wait", value: (*duration)(&s.SlotWait), rule: atLeast(&s.SlotWait, 0),
		help: "How long to wait for a slot that another process holds, at the start and later, before giving up with exit code 4.",
	}, {
		path: "source.trust_owner", value: (*boolean)(&s.TrustOwner),
		help: "Read the table of another role also as a superuser or with other rights that its owner does not have, and where a read calls functions " +
			"of another role. Those functions run with the rights of this role.",
	}}
}

func (s *Sink) settings() []setting {
	return []setting{{
		path: "sink.dsn", value: dsn{&s.DSN}, empty: "the source database", file: true,
		help: "Database that holds the vectors; it needs pgvector 0.8 or later.",
	}, {
		path: "sink.schema", value: (*text)(&s.Schema), rule: objectName(&s.Schema),
		help: "Schema of wal2vec's own tables.",
	}, {
		path: "sink.owner", value: (*text)(&s.Owner), empty: "the role of the session, or a superuser", rule: optionalName(&s.Owner),
		help: "Role that runs wal2vec init, where it is neither of these. Schema and tables of another role are not read: it could run code by them.",
	}, {
		path: "sink.view", value: nameValue{&s.View},
		help: "View that people query, as schema.name; analytics_features and the pipeline's name unless named here. A schema of its own, " +
			"and not public: who may create where every role looks for functions has every role run its own. A pipeline that has a view " +
			"and is not told another name keeps it.",
	}, {
		path: "sink.storage", value: word{to: &s.Storage, words: []string{change.StorageVector, change.StorageHalfvec}},
		help: "Column type of a new vector table: vector (4 bytes a component) or halfvec (2 bytes).",
	}, {
		path: "sink.index_memory", value: (*size)(&s.IndexMemory), rule: sizeBetween(&s.IndexMemory, 0, 1<<40),
		help: "The server's memory for building an HNSW index, in bytes or with a unit; 0 takes what the vectors need.",
	}}
}

func (e *Encoder) settings() []setting {
	return []setting{{
		path: "encoder.model", value: (*text)(&e.Model), ml: "ML_EMBEDDING_MODEL", rule: notEmpty(&e.Model),
		help: "Model: a name among the parts, with or without an organisation (organisation/name), or the path of a checkpoint folder in Hugging Face " +
			"form, which begins with ./, ../ or /.",
	}, {
		path: "encoder.model_folders", value: columns{&e.ModelFolders}, empty: "none", rule: folderList(&e.ModelFolders),
		help: "Folders of checkpoint folders that a generation in the sink may name by their path. A name among the parts needs none. " +
			"In the environment: a,b.",
	}, {
		path: "encoder.dimension", value: (*number)(&e.Dimension), ml: "ML_EMBEDDING_DIMENSION", rule: between(&e.Dimension, 0, 16000),
		help: "Dimension that the model must have; 0 takes the model's.",
	}, {
		path: "encoder.device", ml: "ML_DEVICE", help: "Device: auto tries cuda, coreml, cpu; any other must work. mps means coreml.",
		value: word{
			to: &e.Device, words: []string{change.DeviceAuto, change.DeviceCUDA, change.DeviceCoreML, change.DeviceCPU},
			alias: map[string]string{"mps": change.DeviceCoreML},
		},
	}, {
		path: "encoder.precision",
		value: word{
			to: &e.Precision, words: []string{change.PrecisionAuto, change.PrecisionFP32, change.PrecisionFP16, change.PrecisionINT8},
		},
		help: "Precision of the model: auto is fp16 on cuda, int8 on a processor that multiplies bytes (VNNI), else fp32.",
	}, {
		path: "encoder.threads", value: (*number)(&e.Threads), rule: between(&e.Threads, 0, 1024),
		help: "Encoder threads; 0 takes one a core.",
	}, {
		path: "encoder.run_tokens", value: (*number)(&e.RunTokens), rule: between(&e.RunTokens, 0, 1<<20),
		help: "Tokens that one call of the model takes at most, 0 what suits the device; a single longer text goes alone.",
	}, {
		path: "encoder.run_rows", value: (*number)(&e.RunRows), ml: "ML_BATCH_SIZE", rule: between(&e.RunRows, 0, 65536),
		help: "Texts that one call of the model takes at most, 0 what suits the device.",
	}, {
		path: "encoder.hub", value: (*hubAddress)(&e.Hub), ml: "HF_ENDPOINT", rule: webAddress(&e.Hub),
		help: "Address of the hub that models pull fetches from.",
	}, {
		path: "encoder.hub_token", value: secret{&e.HubToken}, ml: "HF_TOKEN", empty: "none is sent", file: true, rule: printable(&e.HubToken),
		help: "Token for models on the hub that are private or gated.",
	}}
}

func (s *Stream) settings() []setting {
	return []setting{{
		path: "stream.max_rows", value: (*number)(&s.MaxRows), rule: between(&s.MaxRows, 1, 1_000_000),
		help: "Rows of one batch at most; a batch is one sink transaction.",
	}, {
		path: "stream.max_tokens", value: (*number)(&s.MaxTokens), rule: between(&s.MaxTokens, 1, 1<<30),
		help: "Tokens of one batch at most.",
	}, {
		path: "stream.max_bytes", value: (*size)(&s.MaxBytes), rule: sizeBetween(&s.MaxBytes, 1<<10, 16<<30),
		help: "Memory of one batch at most, in bytes or with a unit: 8MiB.",
	}, {
		path: "stream.max_age", value: (*duration)(&s.MaxAge), rule: atLeast(&s.MaxAge, 0),
		help: "How long a complete transaction waits in a batch while the next one is still arriving. Then the batch ends, in the middle of the next one.",
	}, {
		path: "stream.max_row_bytes", value: (*size)(&s.MaxRowBytes), rule: sizeBetween(&s.MaxRowBytes, 1<<10, 2<<30),
		help: "Bytes of one row at most, over the columns that a template names: a larger row becomes a dead letter, in the stream and in every " +
			"backfill, audit and retry alike. One within it takes up to twice its size of memory for a moment. After a change: wal2vec backfill.",
	}, {
		path: "stream.drain_timeout", value: (*duration)(&s.DrainTimeout), rule: atLeast(&s.DrainTimeout, 0),
		help: "How long a stopping stream may finish what it has taken in. What it leaves is read again at the next start.",
	}, {
		path: "stream.idle_interval", value: (*duration)(&s.IdleInterval), rule: atLeast(&s.IdleInterval, minPause),
		help: "How often an idle stream writes its position, so that the source can drop old WAL.",
	}, {
		path: "stream.heartbeat", value: (*duration)(&s.Heartbeat), rule: pauseOrNone(&s.Heartbeat),
		help: "After how long without anything from the source a message is written into its log, so that it has a position to name; 0s never. " +
			"For servers whose slot stands still while their log grows.",
	}, {
		path: "stream.retry_max", value: (*duration)(&s.RetryMax), rule: atLeast(&s.RetryMax, minPause),
		help: "Longest pause between two tries after a lost connection.",
	}, {
		path: "stream.on_gap", value: word{to: &s.OnGap, words: []string{GapRefuse, GapResync}},
		help: "Where the stream cannot go on (a lost slot, a restored source): refuse ends it with exit code 6, resync makes a slot and refreshes.",
	}, {
		path: "stream.on_swap", value: word{to: &s.OnSwap, words: []string{SwapFollow, SwapRefuse}},
		help: "Where another table takes the name of the source table, as dbt's table models do: follow goes on with the new one and refreshes, refuse " +
			"makes it a gap. After an ALTER TABLE whose new values the log does not tell, follow refreshes too, refuse only says so.",
	}, {
		path: "stream.on_wal_pressure", value: word{to: &s.OnWALPressure, words: []string{PressureHold, PressureDrop}},
		help: "Where nothing can be written and the slot holds back too much log: hold keeps the slot, drop_and_resync drops it and resyncs later.",
	}, {
		path: "stream.retained_limit", value: (*size)(&s.RetainedLimit), rule: sizeBetween(&s.RetainedLimit, 1<<20, 1<<50),
		help: "How much of the source's log is too much for on_wal_pressure, in bytes or with a unit: 16GiB.",
	}}
}

func (b *Backfill) settings() []setting {
	return []setting{{
		path: "backfill.chunk_keys", value: (*number)(&b.ChunkKeys), ml: "ML_EMBEDDING_CHUNK_SIZE", rule: between(&b.ChunkKeys, 1, 1_000_000),
		help: "Keys of one chunk: one SELECT on the source, one sink transaction.",
	}, {
		path: "backfill.rate", value: rate{&b.Rate}, rule: optionalAtLeast(&b.Rate, 1),
		help: "Rows read a second at most, or unlimited.",
	}, {
		path: "backfill.wait_timeout", value: (*duration)(&b.WaitTimeout), rule: atLeast(&b.WaitTimeout, minPause),
		help: "How long a chunk waits for the running stream to reach its position, before giving up with exit code 5.",
	}, {
		path: "backfill.in_flight", value: (*number)(&b.InFlight), rule: between(&b.InFlight, 1, 64),
		help: "Chunks at work at once: read, encoded, waited for or written.",
	}, {
		path: "backfill.writers", value: (*number)(&b.Writers), rule: between(&b.Writers, 0, 32),
		help: "Chunks written at once, each over a connection of its own; 0 takes one a core, up to 4.",
	}, {
		path: "backfill.full", value: (*boolean)(&b.Full), ml: mlWatermark,
		help: "Encode every row again, also those whose vector is fresh, as with --full.",
	}}
}

func (h *HTTP) settings() []setting {
	return []setting{{
		path: "http.listen", value: (*offText)(&h.Listen), empty: "nothing is served", rule: address(&h.Listen),
		help: "Address of /metrics, /healthz, /readyz and /status, as host:port; port 0 takes a free one, off serves nothing.",
	}, {
		path: "http.token", value: secret{&h.Token}, empty: "none is asked for", file: true, rule: printable(&h.Token),
		help: "Bearer token that every path but /healthz asks for.",
	}, {
		path: "http.allowed_hosts", value: columns{&h.AllowedHosts}, rule: hostList(&h.AllowedHosts),
		empty: "none are; other than loopback addresses then answer to any name",
		help:  "Names and addresses, without port, that a request's Host header may hold besides loopback ones and the address that it came in on.",
	}, {
		path: "http.max_connections", value: (*number)(&h.MaxConnections), rule: between(&h.MaxConnections, 1, 65536),
		help: "Connections open at once. At the limit a new connection takes the place of an older one, first of one that waits for a request. " +
			"Each keeps its place for at least 20 ms (less if the limit is below 250).",
	}}
}

func (l *Log) settings() []setting {
	return []setting{{
		path: "log.level", value: word{to: &l.Level, words: []string{"trace", "debug", "info", "warn", "error"}},
		help: "Least severe level that is logged: trace, debug, info, warn or error.",
	}, {
		path: "log.format", value: word{to: &l.Format, words: []string{"auto", "json", "console"}},
		help: "Form of the log on standard error: auto is console on a terminal, else json.",
	}}
}
