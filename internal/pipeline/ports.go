package pipeline

import (
	"context"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Source is the database whose table is followed.
type Source interface {
	// Connect checks that the log can be read on from the watermark and starts reading there. The
	// error of a slot that another process reads is of kind fault.Busy. What is read tells whether
	// the log is still the one that place belongs to.
	Connect(ctx context.Context, place change.Place) (Replication, error)
	// Check is Connect's look at whether the log can be read on from the watermark, without reading
	// it.
	Check(ctx context.Context, from change.LSN) error
	// Current returns the end of the log: everything committed before the call lies below it.
	Current(ctx context.Context) (change.LSN, error)
}

// Replication is a started replication connection.
type Replication interface {
	// Run delivers the log's fragments in order until ctx ends (then it reports the confirmed
	// position once more, closes the connection and returns nil) or the connection fails.
	Run(ctx context.Context, out chan<- change.Fragment) error
	// Confirm names the position up to which the sink holds everything.
	Confirm(w change.LSN)
	// Urge asks for idle positions at short intervals, for somebody who waits for the watermark.
	Urge(urgent bool)
}

// Gate waits until transactions are visible to new snapshots of the source.
type Gate interface {
	Visible(ctx context.Context, xids []uint32) error
}

// RowReader reads source rows by key; a key without a row is not in the result, and of rows that
// would be too many bytes at once some are postponed. What the rows show ends at or below the
// position shown, and no crash of the source can take it back.
type RowReader interface {
	Rows(ctx context.Context, keys []change.Key) (rows []change.Row, shown change.LSN, err error)
}

// Encoder turns texts into vectors: result i belongs to texts[i]. Two calls may run at once. Its
// errors hold no text.
type Encoder interface {
	Encode(ctx context.Context, texts []string) ([][]float32, error)
	// Dimension is the length of a vector.
	Dimension() int
}

// Encoders are the encoders of the generations that are written.
type Encoders interface {
	// Of returns the encoder of a generation, by its number; that may take as long as it takes to
	// load a model.
	Of(ctx context.Context, generation int) (Encoder, error)
}

// Sink is the database that holds the vectors.
type Sink interface {
	// Place reads the committed watermark, and the last transaction that was written.
	Place(ctx context.Context) (change.Place, error)
	// Takeover makes this process the owner of the pipeline. It waits for a moment where another
	// session has locked the pipeline's row, and then returns an error that is protocol.ErrLocked.
	Takeover(ctx context.Context) (Writer, error)
	// Awaited reports whether somebody waits for the watermark to pass a position.
	Awaited(ctx context.Context) (bool, error)
	// CollectTombstones removes the tombstones that no reader can need any more.
	CollectTombstones(ctx context.Context) (int64, error)
}

// Writer writes the stream's commits in order.
type Writer interface {
	// Watermark is the watermark as of the last commit.
	Watermark() change.LSN
	// Template renders the texts of the generations that are written.
	Template() change.Template
	// Stale returns the changes whose text has no vector yet, by generation.
	Stale(ctx context.Context, changes []change.Change) ([]change.Lack, error)
	// Commit writes one sink transaction. When it needs a vector that it was not given, it writes
	// nothing and returns an error that implements Needs.
	Commit(ctx context.Context, commit change.Commit) error
	// ReportPending tells other processes the commit time of the oldest change not yet committed;
	// zero when there is none.
	ReportPending(ctx context.Context, oldest time.Time) error
}

// Needs is implemented by the error of a commit that lacks vectors.
type Needs interface {
	error
	// NeededHashes returns them by generation.
	NeededHashes() map[int][]change.Hash
}

// Retention is the log that the slot holds back on the source because this process has not
// confirmed it.
type Retention interface {
	// Retained returns its bytes; zero without a slot.
	Retained(ctx context.Context) (int64, error)
	// Release drops the slot, so that the source may remove the log. The error of a slot that is
	// still being read is of kind fault.Busy.
	Release(ctx context.Context) error
}

// Swap follows a table that another has taken the name of, in two steps that a session lies
// between.
type Swap interface {
	// Pending reports whether the table of the log is one that has lost its name; asked once a
	// session has its connection.
	Pending() bool
	// Prepare makes the log bring what happens to the new table, once this process is the owner,
	// and returns the position from which on it does. It may take as long as others keep their
	// locks on the table.
	Prepare(ctx context.Context) (change.LSN, error)
	// Finish makes the new table the pipeline's. It is called when the watermark has passed the
	// position and no session runs.
	Finish(ctx context.Context) error
}

// Observer is told what happens, for metrics. Its methods must not block.
type Observer interface {
	StreamActive(active bool)
	BatchCommitted(cut string, events map[change.Op]int, watermark change.LSN)
	Freshness(age time.Duration, events int)
	Stage(stage string, took time.Duration)
	TextsEncoded(n int)
	Pending(oldest time.Time)
	Retried(class string)
}
