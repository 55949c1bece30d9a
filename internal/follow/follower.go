package follow

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/pgoutput"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

// Follower is everything that a stream needs, opened and checked.
type Follower struct {
	Options
	engines *engine.Pool
	Store   *connect.Store
	Metrics *monitor.Metrics
	// upstream is replaced when the source's history changes under the stream: a resync, a
	// promotion.
	upstream atomic.Pointer[upstream]
	// resynced holds a token when a refresh may be open that this process has to run.
	resynced chan struct{}
	// listed are the columns that the publication was last seen to list for the table; nil where it
	// lists none, or was not looked at.
	listed atomic.Pointer[[]string]
}

// upstream is the source side of a stream in one history of the source.
type upstream struct {
	state  sink.State
	table  change.Table
	source *replication.Source
	gate   *replication.Gate
	reader *rows.Reader
	// successor is the table that has taken the name of the one that is followed, by its object id;
	// zero when none has.
	successor uint32
}

// Options are what a stream is opened with.
type Options struct {
	Config config.Config
	Log    zerolog.Logger
	Opener engine.Opener
	// Version and Commit of the program, for the metrics.
	Version, Commit string
	// Around, if any, puts something around the ports of each stream before it is made. Tests use
	// it to see what a stream reads, and to hold it at the moment that a rule is about.
	Around func(pipeline.Ports) pipeline.Ports
}

// Open opens the encoders (whose self-tests come before the slot is touched) and both
// databases, and checks that source, sink and model belong together. Whether the slot can go on is
// asked by each session.
func Open(ctx context.Context, o Options) (f *Follower, err error) {
	c, log := o.Config, o.Log
	f = &Follower{Options: o, resynced: make(chan struct{}, 1)}
	opened := f // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			opened.Close(ctx)
		}
	}()
	table, inspectErr := connect.Inspect(ctx, c)
	if inspectErr != nil && !connect.FollowsSwaps(c) {
		return nil, inspectErr
	}
	if f.Store, err = connect.OpenStore(ctx, c, log, "stream"); err != nil {
		return nil, cmp.Or(inspectErr, err)
	}
	state, err := f.Store.State(ctx)
	if err != nil {
		return nil, cmp.Or(inspectErr, err)
	}
	if inspectErr != nil {
		if table, err = connect.InspectFollowed(ctx, c, state); err != nil {
			return nil, err
		}
	}
	if f.engines, err = o.Opener.Pool(c, f.Store, state); err != nil {
		return nil, err
	}
	if err := connect.CheckState(c, state, table); err != nil {
		return nil, err
	}
	if table, err = connect.InspectFollowed(ctx, c, state); err != nil {
		return nil, err
	}
	if state.Slot == "" && c.Stream.OnGap == config.GapRefuse && c.Stream.OnWALPressure == config.PressureHold {
		return nil, sink.ErrNoSlot
	}
	f.Metrics = monitor.NewMetrics(monitor.MetricsOptions{Pipeline: c.Pipeline, Version: o.Version, Revision: o.Commit})
	f.engines.Writes = true
	f.engines.Watch = func(v engine.Encoder) pipeline.Encoder { return &watchedEncoder{Encoder: v, metrics: f.Metrics} }
	if err := f.engines.Become(ctx, state.Generations); err != nil {
		return nil, err
	}
	f.engines.Warn(log, state)
	f.begin(ctx, state, table)
	if err := f.checkReader(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// checkReader refuses at the start what would otherwise end the stream with its first read by key.
// Whatever else is wrong with the source is for a session to find.
func (f *Follower) checkReader(ctx context.Context) error {
	reader := f.upstream.Load().reader
	defer reader.Close(ctx)
	err := reader.Open(ctx)
	if refused := strings.HasPrefix(fault.SQLSTATE(err), "28"); refused || fault.KindOf(err) == fault.Usage {
		return err
	}
	return nil
}

// begin makes the source side again for the pipeline's present state.
func (f *Follower) begin(ctx context.Context, state sink.State, table change.Table) {
	f.beginWith(ctx, state, table, 0)
	for _, job := range state.Jobs {
		if job.Resync && (f.resyncs() || job.Swap && connect.FollowsSwaps(f.Config)) {
			f.askForRefresh()
		}
	}
}

func (f *Follower) beginWith(ctx context.Context, state sink.State, table change.Table, successor uint32) {
	c := f.Config
	followed := table
	followed.OID = state.Table.OID // the publication follows a table by its OID, whatever has its name now
	readable := state
	if successor != 0 { // what the log brings of the old table is read from the new one, whose refresh follows
		readable.Table.OID = 0
	}
	next := &upstream{
		state: state, table: table, reader: connect.NewFollowingReader(c, f.Log, readable, table), successor: successor,
		source: replication.NewSource(replication.Options{
			ConnString: c.Source.DSN.Reveal(), Slot: c.Source.Slot, Publication: c.Source.Publication, Table: followed, Successor: successor,
			SystemID: state.SystemID, Timeline: state.Timeline, Limits: fragmentLimits(c.Stream), Logger: f.Log,
		}),
		gate: replication.NewGate(replication.GateOptions{
			ConnString: c.Source.DSN.Reveal(), SystemID: state.SystemID, Timeline: state.Timeline, Slot: c.Source.Slot,
		}),
	}
	f.upstream.Swap(next).close(ctx)
}

func (u *upstream) close(ctx context.Context) {
	if u == nil {
		return
	}
	u.reader.Close(ctx)
	u.gate.Close(ctx)
	u.source.Close(ctx)
}

// Close closes what was opened, also when ctx has ended.
func (f *Follower) Close(ctx context.Context) {
	f.upstream.Swap(nil).close(context.WithoutCancel(ctx))
	_ = f.engines.Close()
	if f.Store != nil {
		f.Store.Close()
	}
}

// Watermark is where the stream goes on, as it was when this was opened, or begun again.
func (f *Follower) Watermark() change.LSN { return f.upstream.Load().state.Watermark }

// NewStream wires the stream.
func (f *Follower) NewStream(untilCurrent bool) *pipeline.Stream {
	c, owner := f.Config.Stream, ownerName()
	ports := pipeline.Ports{
		Source: sourcePort{f}, Gate: gatePort{f}, Rows: rowsPort{f},
		CheckTable: sourcePort{f}.CheckTable, Heartbeat: sourcePort{f}.Heartbeat, OnGap: f.onGap,
		Encoders: f.engines, Sink: sinkPort{f.Store.Sink, f, owner}, Observer: f.Metrics, Swap: &swapPort{Follower: f, owner: owner},
	}
	if c.OnWALPressure == config.PressureDrop {
		ports.Retention = retentionPort{f.Config}
	}
	if f.Around != nil {
		ports = f.Around(ports)
	}
	return pipeline.NewStream(ports, pipeline.StreamOptions{
		Limits:       batch.Limits{Rows: c.MaxRows, Tokens: c.MaxTokens, Bytes: int(c.MaxBytes), Age: c.MaxAge},
		IdleInterval: c.IdleInterval, HeartbeatAfter: c.Heartbeat,
		DrainTimeout: c.DrainTimeout, SlotWait: f.Config.Source.SlotWait, RetryMax: c.RetryMax,
		RetainedLimit: c.RetainedLimit, UntilCurrent: untilCurrent, Logger: f.Log, Now: failpoint.Clock(),
	})
}

// fragmentLimits keeps a part of a large transaction no larger than a batch: a batch takes
// fragments whole.
func fragmentLimits(c config.Stream) pgoutput.Limits {
	const events, bytes = 1000, 1 << 20
	return pgoutput.Limits{Events: min(events, c.MaxRows), Bytes: int(min(bytes, c.MaxBytes))}
}

// ownerName tells processes apart in the pipeline row: host, process and start.
func ownerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d/%d", host, os.Getpid(), time.Now().UnixNano())
}
