package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
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

// follower is everything that a stream needs, opened and checked.
type follower struct {
	config  config.Config
	log     zerolog.Logger
	engines *engine.Pool
	store   *connect.Store
	metrics *monitor.Metrics
	// origin is replaced when the source's history changes under the stream: a resync, a promotion.
	origin atomic.Pointer[origin]
	// resynced holds a token when a refresh may be open that this process has to run.
	resynced chan struct{}
	// listed are the columns that the publication was last seen to list for the table; nil where it lists none, or was not looked at.
	listed atomic.Pointer[[]string]
}

// origin is the source side of a stream in one history of the source.
type origin struct {
	state  sink.State
	table  change.Table
	source *replication.Source
	gate   *replication.Gate
	reader *rows.Reader
	// successor is the table that has taken the name of the one that is followed, by its object id; zero when none has.
	successor uint32
}

// openFollower opens the encoders (whose self-tests come before the slot is touched), both databases, and checks that source, sink
// and model are those that belong together. Whether the slot can go on is asked by each session.
func (p *program) openFollower(ctx context.Context, c config.Config, log zerolog.Logger) (f *follower, err error) {
	f = &follower{config: c, log: log, resynced: make(chan struct{}, 1)}
	opened := f // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			opened.Close()
		}
	}()
	table, inspectErr := connect.Inspect(ctx, c)
	if inspectErr != nil && !connect.FollowsSwaps(c) {
		return nil, inspectErr
	}
	if f.store, err = connect.OpenStore(ctx, c, log, "stream"); err != nil {
		return nil, cmp.Or(inspectErr, err)
	}
	state, err := f.store.State(ctx)
	if err != nil {
		return nil, cmp.Or(inspectErr, err)
	}
	if inspectErr != nil {
		if table, err = connect.InspectFollowed(ctx, c, state); err != nil {
			return nil, err
		}
	}
	if f.engines, err = p.opener(c).Pool(c, f.store, state); err != nil {
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
	build := buildVersion()
	f.metrics = monitor.NewMetrics(monitor.MetricsOptions{Pipeline: c.Pipeline, Version: build.Version, Revision: build.Commit})
	f.engines.Writes = true
	f.engines.Watch = func(v engine.Encoder) pipeline.Encoder { return &watchedEncoder{Encoder: v, metrics: f.metrics} }
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

// checkReader refuses at the start what would otherwise end the stream with its first read by key. Whatever else is wrong with the source is for
// a session to find.
func (f *follower) checkReader(ctx context.Context) error {
	reader := f.origin.Load().reader
	defer reader.Close(ctx)
	if err := reader.Open(ctx); fault.KindOf(err) == fault.Usage {
		return err
	}
	return nil
}

// begin makes the source side anew for the pipeline's present state.
func (f *follower) begin(ctx context.Context, state sink.State, table change.Table) {
	f.beginWith(ctx, state, table, 0)
	for _, job := range state.Jobs {
		if job.Resync && (f.resyncs() || job.Swap && connect.FollowsSwaps(f.config)) {
			f.askForRefresh()
		}
	}
}

func (f *follower) beginWith(ctx context.Context, state sink.State, table change.Table, successor uint32) {
	c := f.config
	followed := table
	followed.OID = state.Table.OID // the publication follows a table by its OID, whatever has its name now
	readable := state
	if successor != 0 { // what the log brings of the old table is read from the new one, whose refresh follows
		readable.Table.OID = 0
	}
	next := &origin{
		state: state, table: table, reader: connect.NewFollowingReader(c, f.log, readable, table), successor: successor,
		source: replication.NewSource(replication.Options{
			ConnString: c.Source.DSN.Reveal(), Slot: c.Source.Slot, Publication: c.Source.Publication, Table: followed, Successor: successor,
			SystemID: state.SystemID, Timeline: state.Timeline, Limits: fragmentLimits(c.Stream), Logger: f.log,
		}),
		gate: replication.NewGate(replication.GateOptions{
			ConnString: c.Source.DSN.Reveal(), SystemID: state.SystemID, Timeline: state.Timeline, Slot: c.Source.Slot,
		}),
	}
	f.origin.Swap(next).close(ctx)
}

func (o *origin) close(ctx context.Context) {
	if o == nil {
		return
	}
	o.reader.Close(ctx)
	o.gate.Close(ctx)
	o.source.Close(ctx)
}

// Close closes what was opened.
func (f *follower) Close() {
	f.origin.Swap(nil).close(context.Background())
	_ = f.engines.Close()
	if f.store != nil {
		f.store.Close()
	}
}

// newStream wires the stream.
func (f *follower) newStream(untilCurrent bool) *pipeline.Stream {
	c, owner := f.config.Stream, ownerName()
	ports := pipeline.Ports{
		Source: sourcePort{f}, Gate: gatePort{f}, Rows: rowsPort{f},
		CheckTable: sourcePort{f}.CheckTable, Heartbeat: sourcePort{f}.Heartbeat, OnGap: f.onGap,
		Encoders: f.engines, Sink: sinkPort{f.store.Sink, f, owner}, Observer: f.metrics, Swap: &swapPort{follower: f, owner: owner},
	}
	if c.OnWALPressure == config.PressureDrop {
		ports.Retention = retentionPort{f.config}
	}
	return pipeline.NewStream(ports, pipeline.StreamOptions{
		Limits:       batch.Limits{Rows: c.MaxRows, Tokens: c.MaxTokens, Bytes: int(c.MaxBytes), Age: c.MaxAge},
		IdleInterval: c.IdleInterval, Heartbeat: c.Heartbeat,
		DrainTimeout: c.DrainTimeout, SlotWait: f.config.Source.SlotWait, RetryMax: c.RetryMax,
		RetainedLimit: c.RetainedLimit, UntilCurrent: untilCurrent, Logger: f.log, Now: failpoint.Clock(),
	})
}

// fragmentLimits keeps a part of a large transaction no larger than a batch: a batch takes fragments whole.
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

// sourcePort gives the replication source of the present history the pipeline's interface.
type sourcePort struct{ *follower }

// Connect checks that the slot can go on from a place, and starts replication there.
func (p sourcePort) Connect(ctx context.Context, place change.Place) (pipeline.Replication, error) {
	stream, err := p.origin.Load().source.Connect(ctx, place)
	if p.succeeds(ctx, err) {
		stream, err = p.origin.Load().source.Connect(ctx, place)
	}
	if err != nil {
		return nil, err
	}
	return stream, nil
}

// Check returns the error with which Connect would refuse to begin at a position.
func (p sourcePort) Check(ctx context.Context, from change.LSN) error {
	err := p.origin.Load().source.Check(ctx, from)
	if p.succeeds(ctx, err) {
		err = p.origin.Load().source.Check(ctx, from)
	}
	return err
}

// Current returns the end of the source's log.
func (p sourcePort) Current(ctx context.Context) (change.LSN, error) {
	return p.origin.Load().source.Current(ctx)
}

// CheckTable returns a fault of kind Gap where the publication no longer brings the changes of the table that has the configured name.
func (p sourcePort) CheckTable(ctx context.Context) error {
	return p.origin.Load().source.CheckTable(ctx)
}

// Heartbeat writes a small transaction into the source's log.
func (p sourcePort) Heartbeat(ctx context.Context) error {
	return p.origin.Load().source.Heartbeat(ctx)
}

// gatePort gives the gate of the present history the pipeline's interface.
type gatePort struct{ *follower }

// Visible waits until these transactions are visible to new snapshots on the source.
func (p gatePort) Visible(ctx context.Context, xids []uint32) error {
	return p.origin.Load().gate.Visible(ctx, xids)
}

// rowsPort reads rows that no crash of the source can take back: the stream writes them at once.
type rowsPort struct{ *follower }

// Rows reads the rows with these keys, and returns the end of the log at the read; a key without a row is not in the result.
func (p rowsPort) Rows(ctx context.Context, keys []change.Key) ([]change.Row, change.LSN, error) {
	rows, shown, err := p.origin.Load().reader.DurableRows(ctx, keys)
	if err != nil && p.renamed(ctx) {
		err = fault.Wrap(err, fault.Unavailable, "", "reading rows of a table that another is about to take the place of")
	}
	return rows, shown, err
}

// sinkPort gives the sink the pipeline's interface, for one history of the source: where the pipeline was started anew, by whomever, what
// this process knows of its source is to be learnt anew before a position is read or a word written.
type sinkPort struct {
	*sink.Sink
	follower *follower
	owner    string
}

// Place returns where the stream goes on, or sink.ErrStartedAnew where the pipeline is in another epoch than this process knows.
func (s sinkPort) Place(ctx context.Context) (change.Place, error) {
	place, err := s.Sink.Place(ctx)
	if err == nil && place.Epoch != s.follower.origin.Load().state.Epoch {
		err = sink.ErrStartedAnew
	}
	if err == nil {
		err = s.follower.readFor(ctx)
	}
	return place, err
}

// Takeover makes this process the owner, once it has the models of all generations.
func (s sinkPort) Takeover(ctx context.Context) (pipeline.Writer, error) {
	stream, err := s.Sink.Takeover(ctx, s.owner, s.follower.origin.Load().state.Epoch)
	if err != nil {
		return nil, err
	}
	if !stream.Template().Same(s.follower.origin.Load().table.Template) {
		return nil, sink.ErrGenerations // since readFor looked
	}
	// A generation that came meanwhile: its model is loaded before the first text of it is read, so that one that is not here is noticed now.
	return stream, s.follower.engines.Become(ctx, stream.Generations())
}

// readFor makes the source side anew where the generations read other columns than it does.
func (f *follower) readFor(ctx context.Context) error {
	state, err := f.store.State(ctx)
	if err != nil {
		return err
	}
	template, err := state.Template()
	o := f.origin.Load()
	if err != nil || template.Same(o.table.Template) || state.Epoch != o.state.Epoch {
		return err
	}
	table, err := connect.InspectFollowed(ctx, f.config, state)
	if err != nil {
		return err
	}
	f.log.Info().Strs("columns", template.Columns()).Msg("the generations read other columns")
	f.begin(ctx, state, table)
	return nil
}

// retentionPort tells how much log the slot holds back, and drops it.
type retentionPort struct{ config config.Config }

// Retained returns how many bytes of log the slot holds back that are not confirmed.
func (p retentionPort) Retained(ctx context.Context) (int64, error) {
	conn, err := connect.Source(ctx, p.config, "retention")
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	slot, err := replication.ReadSlot(ctx, conn, p.config.Source.Slot)
	return slot.Unconfirmed(), err
}

// Release drops the slot.
func (p retentionPort) Release(ctx context.Context) error {
	conn, err := connect.Source(ctx, p.config, "retention")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return replication.DropSlot(ctx, conn, p.config.Source.Slot)
}
