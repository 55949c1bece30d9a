package config

import (
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pause"
)

// Config is the whole configuration. A copy shares its lists and its rate with the original:
// replace them, do not write into them.
type Config struct {
	// Pipeline names the work; it is part of table, slot and publication names.
	Pipeline string
	Source   Source
	Sink     Sink
	Encoder  Encoder
	Stream   Stream
	Backfill Backfill
	HTTP     HTTP
	Log      Log

	origins  map[string]Origin
	warnings []error
	hub      error // see HubAccess
	// chosenHub says that a .env file chose the hub; see HubFolder.
	chosenHub bool
}

// Warnings are what Load found and went on with, each a fault.Error in one line: a .env file that
// is not read, a file that other accounts could change.
func (c Config) Warnings() []error { return c.warnings }

// Source says what is read and through which slot.
type Source struct {
	// DSN is a URL or a key/value connection string; empty leaves everything to libpq's PG*
	// variables.
	DSN DSN
	// ReadDSN is that of the role that reads rows of the table, in the same database; empty where
	// the role of DSN does.
	ReadDSN DSN
	Table   Name
	// Key lists the key columns, spelt as in the catalogue.
	Key      []string
	Template change.Template
	// SoftDelete is the column that marks a row as deleted; empty when there is none.
	SoftDelete  string
	Slot        string
	Publication string
	// SlotWait is how long to wait for a slot that another process holds.
	SlotWait time.Duration
	// TrustOwner has the table read whatever functions of other roles a read of it calls.
	TrustOwner bool
}

// Sink says where vectors go.
type Sink struct {
	// DSN is empty when the sink is the source database.
	DSN DSN
	// Schema holds wal2vec's own tables.
	Schema string
	// Owner is the role that ran init, where that is another than the session's own and no
	// superuser; its tables are trusted.
	Owner string
	// View is the name that people query.
	View Name
	// Storage is one of the storages of change.
	Storage string
	// IndexMemory is the server's memory for building an index in bytes; 0 takes what the vectors
	// need.
	IndexMemory int64
}

// Encoder says how texts become vectors.
type Encoder struct {
	// Model is the name of a folder among the parts, or a path; see assets.Parts.Model.
	Model string
	// ModelFolders are folders with checkpoints that the sink may name by their path; see
	// assets.Parts.Recorded.
	ModelFolders []string
	// Dimension is the dimension that the model must have; 0 takes the model's.
	Dimension int
	// Device is one of the devices of change. "mps", the name that PyTorch uses, is read as
	// change.DeviceCoreML.
	Device string
	// Precision is one of the precisions of change.
	Precision string
	// Threads is the number of encoder threads; 0 takes one a core.
	Threads int
	// RunTokens and RunRows bound one call of the model; 0 takes what suits the device.
	RunTokens int
	RunRows   int
	// Hub is the address that models are fetched from; HubToken, where it is not empty, goes along.
	// Both are to be had from Config.HubAccess.
	Hub      string
	HubToken Secret
}

// Stream bounds a batch and the waits of a running stream.
type Stream struct {
	// MaxRows, MaxTokens and MaxBytes bound a batch; MaxAge bounds the wait of a finished
	// transaction for an unfinished one behind it.
	MaxRows   int
	MaxTokens int
	MaxBytes  int64
	MaxAge    time.Duration
	// MaxRowBytes bounds what is read of one row: the sum of the bytes of the columns that one
	// template names, in the server's text output. A larger row becomes a dead letter of the
	// generations with that template.
	MaxRowBytes int64
	// DrainTimeout is how long a stopping stream may finish what it has taken in.
	DrainTimeout time.Duration
	// IdleInterval is how often an idle stream writes its position.
	IdleInterval time.Duration
	// Heartbeat is how long nothing is received before something is written into the source's log;
	// 0 writes nothing.
	Heartbeat time.Duration
	// RetryMax is the longest pause between two tries.
	RetryMax time.Duration
	// OnGap is GapRefuse or GapResync: what a stream does that cannot go on from the watermark.
	OnGap string
	// OnSwap is SwapFollow or SwapRefuse: what a stream does whose table was replaced by another of
	// its name.
	OnSwap string
	// OnWALPressure is PressureHold or PressureDrop: what a stream does that cannot write while its
	// slot holds back more than RetainedLimit bytes of the source's log.
	OnWALPressure string
	RetainedLimit int64
}

// The answers to a gap.
const (
	GapRefuse = "refuse"
	GapResync = "resync"
)

// The answers to a swapped table.
const (
	SwapFollow = "follow"
	SwapRefuse = "refuse"
)

// The answers to log that is held back.
const (
	PressureHold = "hold"
	PressureDrop = "drop_and_resync"
)

// Backfill bounds a backfill.
type Backfill struct {
	// ChunkKeys is the number of keys of one SELECT and one sink transaction.
	ChunkKeys int
	// Rate is the most rows read a second; nil is unlimited.
	Rate *int
	// WaitTimeout is how long a chunk waits for the stream to reach its position.
	WaitTimeout time.Duration
	// InFlight is the number of chunks at work at once.
	InFlight int
	// Writers is the number of chunks written at once; 0 takes one a core, up to 4.
	Writers int
	// Full encodes every row again, also those whose vector is fresh.
	Full bool
}

// HTTP says where metrics, health and status are served.
type HTTP struct {
	// Listen is host:port; empty when nothing is served.
	Listen string
	// Token is the bearer token that every path but /healthz asks for; empty asks for none.
	Token Secret
	// AllowedHosts are names and addresses without port; see api.Options.
	AllowedHosts []string
	// MaxConnections is how many connections are open at once.
	MaxConnections int
}

// Log says what is logged and how.
type Log struct {
	// Level is one of trace, debug, info, warn, error.
	Level string
	// Format is one of auto, json, console.
	Format string
}

// Default returns the configuration without any file, environment or flag.
func Default() Config {
	c := Config{
		Pipeline: "product_embeddings",
		Source: Source{
			Table:      Name{Schema: "staging_marts", Name: "dim_product"},
			Key:        []string{"product_id"},
			SoftDelete: "deleted",
			SlotWait:   10 * time.Second,
		},
		Sink: Sink{
			Schema:  "wal2vec",
			Storage: change.StorageVector,
		},
		Encoder: Encoder{
			Model:     "all-MiniLM-L6-v2",
			Device:    change.DeviceAuto,
			Precision: change.PrecisionAuto,
			Hub:       "https://huggingface.co",
		},
		Stream: Stream{
			MaxRows:      5000,
			MaxTokens:    65536,
			MaxBytes:     8 << 20,
			MaxAge:       200 * time.Millisecond,
			MaxRowBytes:  64 << 20,
			DrainTimeout: 30 * time.Second,
			IdleInterval: 10 * time.Second,
			RetryMax:     pause.MaxRetry,
			OnGap:        GapRefuse,
			OnSwap:       SwapFollow,
			// Whether a disk that fills is worse than a refresh is not for a default to say.
			OnWALPressure: PressureHold,
			RetainedLimit: 16 << 30,
		},
		Backfill: Backfill{ChunkKeys: 1000, WaitTimeout: 5 * time.Minute, InFlight: 16},
		HTTP:     HTTP{Listen: "127.0.0.1:9187", MaxConnections: 256},
		Log:      Log{Level: "info", Format: "auto"},
	}
	template, err := change.ParseTemplate("{name}. {brand}. {category}. {description}")
	if err != nil {
		panic(err) // the template is constant
	}
	c.Source.Template = template
	c.derive()
	return c
}

// SinkIsSource reports whether vectors go into the source database.
func (c Config) SinkIsSource() bool { return c.Sink.DSN == "" || c.Sink.DSN == c.Source.DSN }

// ReadDSN returns the connection string of the role that reads rows of the source table: its own,
// or the source's.
func (c Config) ReadDSN() DSN {
	if c.Source.ReadDSN == "" {
		return c.Source.DSN
	}
	return c.Source.ReadDSN
}

// SinkDSN returns the connection string of the sink: its own, or the source's.
func (c Config) SinkDSN() DSN {
	if c.Sink.DSN == "" {
		return c.Source.DSN
	}
	return c.Sink.DSN
}

// derive names slot, publication and view after the pipeline where no source names them.
func (c *Config) derive() {
	if c.Origin("source.slot").Kind == FromDefault {
		c.Source.Slot = "wal2vec_" + c.Pipeline
	}
	if c.Origin("source.publication").Kind == FromDefault {
		c.Source.Publication = "wal2vec_" + c.Pipeline
	}
	if c.ViewIsDerived() && pipelinePattern.MatchString(c.Pipeline) { // another name has a fault of its own
		c.Sink.View = Name{Schema: viewSchema, Name: c.Pipeline}
	}
}

// viewSchema is where a view lies that no source names.
const viewSchema = "analytics_features"

// ViewIsDerived reports whether the view's name comes from the pipeline's alone: a pipeline that
// has a view keeps that one.
func (c Config) ViewIsDerived() bool { return c.Origin("sink.view").Kind == FromDefault }
