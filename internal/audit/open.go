package audit

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/encoder"
	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/models"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

// Settings say what is audited, and how.
type Settings struct {
	Opener engine.Opener
	Log    zerolog.Logger
	// Full compares every row; else Sample rows are compared, and as many keys of the sink looked
	// up.
	Full   bool
	Sample int
	// Reencode is how many texts are encoded again, up to twice as many where rows are few.
	Reencode int
	// Generation is the number of the audited one; 0 takes the active one.
	Generation int
	// Repair reads the rows of the findings again and writes them, in every generation.
	Repair bool
	// State is the file that keeps how far a full audit is; empty takes one in the user's cache
	// folder. Restart passes over what it says.
	State   string
	Restart bool
}

// Opened is everything that an audit needs, opened and checked.
type Opened struct {
	config  config.Config
	options Settings
	log     zerolog.Logger

	store     *connect.Store
	engines   *engine.Pool
	table     change.Table
	reader    *rows.Reader
	audit     *sink.Audit
	state     sink.State
	positions *connect.Positions
	encoder   *engine.Engine // nil where nothing is encoded again
	made      *models.Checkpoint
	repairs   *backfill.Filler // nil where nothing is repaired
}

// Open opens what an audit needs of a configured pipeline, and refuses where an audit would say
// nothing.
func Open(ctx context.Context, c config.Config, o Settings) (a *Opened, err error) {
	a = &Opened{options: o, config: c, log: o.Log}
	opened := a // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			opened.Close(ctx)
		}
	}()
	if a.table, err = connect.Inspect(ctx, c); err != nil {
		return nil, err
	}
	if a.store, err = connect.OpenReadOnlyStore(ctx, c, o.Log, "audit"); err != nil {
		return nil, err
	}
	if a.state, err = a.store.State(ctx); err != nil {
		return nil, err
	}
	if a.engines, err = o.Opener.Pool(c, a.store, a.state); err != nil {
		return nil, err
	}
	if err := connect.CheckState(c, a.state, a.table); err != nil {
		return nil, err
	}
	if err := connect.CheckFollowed(c, a.state, a.table); err != nil {
		return nil, err
	}
	if a.table, err = connect.InspectPipeline(ctx, c, a.state); err != nil {
		return nil, err
	}
	if err := backfill.CheckSlot(ctx, c, "audit"); err != nil {
		return nil, err
	}
	if a.audit, err = a.store.OpenAudit(ctx, o.Generation); err != nil {
		return nil, err
	}
	if a.made, err = a.engines.CheckpointFor(a.Generation()); err != nil {
		return nil, err
	}
	engines := a.engines
	if o.Repair {
		if a.repairs, err = backfill.Open(ctx, o.Opener, c, o.Log); err != nil {
			return nil, err
		}
		engines = a.repairs.Engines // one model in memory is enough
	}
	if o.Reencode > 0 {
		if a.encoder, err = engines.Engine(ctx, a.Generation()); err != nil {
			return nil, err
		}
	}
	reading := connect.ReaderOptions(c, a.table)
	reading.SystemID, reading.Timeline = a.state.SystemID, a.state.Timeline
	reading.Application, reading.Warn = "wal2vec/audit", connect.WarnOfCode(o.Log)
	a.reader = rows.NewReader(reading)
	if err := a.reader.Open(ctx); err != nil { // before anything is encoded
		return nil, err
	}
	a.positions = connect.NewPositions(c, a.store)
	return a, nil
}

// Close closes what was opened, also when ctx has ended.
func (a *Opened) Close(ctx context.Context) {
	if a.repairs != nil {
		a.repairs.Close(context.WithoutCancel(ctx))
	}
	if a.positions != nil {
		a.positions.Close(context.WithoutCancel(ctx))
	}
	if a.reader != nil {
		a.reader.Close(context.WithoutCancel(ctx))
	}
	_ = a.engines.Close()
	if a.store != nil {
		a.store.Close()
	}
}

// Run audits, and goes on with what an interrupted audit left: resumed says so. The report of an
// audit that was interrupted tells how far it came.
func (a *Opened) Run(ctx context.Context) (report Report, resumed bool, err error) {
	state := a.stateFile()
	from, err := state.load()
	if err != nil {
		return report, false, err
	}
	resumed = from.Rows > 0
	err = a.store.Trusting(ctx, func(ctx context.Context) (err error) {
		report, err = New(a.Ports(state.save), a.Options(), from).Run(ctx)
		return err
	})
	if errors.Is(err, protocol.ErrGenerations) {
		err = fault.Wrap(err, fault.Unavailable, "run it again", "auditing")
	}
	if err == nil && !report.Stopped {
		state.remove()
	}
	return report, resumed, err
}

// Generation is the audited one.
func (a *Opened) Generation() sink.Generation { return a.audit.Generation() }

// NeverFilled reports whether no backfill has read the whole table yet.
func (a *Opened) NeverFilled() bool { return a.state.FullBackfill == change.BackfillNone }

// Ports wires what the audit reads and writes.
func (a *Opened) Ports(save func(Report) error) Ports {
	ports := Ports{Reader: a.reader, Sink: a.audit, Positions: a, Log: a, Save: save}
	if a.encoder != nil {
		ports.Encoder = a.encoder
	}
	if a.repairs != nil {
		ports.Repair = a.repairs.Rewrite
	}
	return ports
}

// Options are what the settings and the generation make of an audit.
func (a *Opened) Options() Options {
	g, c := a.Generation(), a.config
	o := Options{
		Rows: a.table.Template, Template: a.audit.TemplateNumber(), Normalised: a.made.Normalised(), MinCosine: 1, Sample: a.options.Sample,
		Reencode: a.options.Reencode, ChunkKeys: c.Backfill.ChunkKeys, WaitTimeout: c.Backfill.WaitTimeout, Progress: a.progress(),
	}
	if a.options.Full {
		o.Sample = 0
	}
	precisions := g.Precisions
	if a.encoder != nil {
		precisions = append(slices.Clip(precisions), a.encoder.Precision)
	}
	for _, precision := range precisions {
		o.MinCosine = min(o.MinCosine, encoder.MinCosine(precision))
	}
	return o
}

// progress logs how far an audit is, now and then.
func (a *Opened) progress() func(*Report) {
	logged := time.Now()
	return func(r *Report) {
		if time.Since(logged) < backfill.LogInterval {
			return
		}
		logged = time.Now()
		a.log.Info().Str("phase", string(r.Phase)).Int64("rows", r.Rows).Int64("keys", r.Keys).Int64("findings", r.Found()).Msg("audit")
	}
}

// Version is the watermark as committed in the sink.
func (a *Opened) Version(ctx context.Context) (change.Version, error) {
	return a.positions.Version(ctx)
}

// Streaming reports whether a process reads the slot.
func (a *Opened) Streaming(ctx context.Context) (bool, error) { return a.positions.Streaming(ctx) }

// WaitFor returns when the watermark has reached lsn.
func (a *Opened) WaitFor(ctx context.Context, lsn change.LSN) error {
	return a.store.WaitFor(ctx, lsn)
}

// Jobs lists the open backfills. It fails where another table has the name of the one that the
// pipeline follows.
func (a *Opened) Jobs(ctx context.Context) ([]sink.JobState, error) {
	conn, err := connect.Source(ctx, a.config, "audit")
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// The name first: a swap that is followed in between has raised the epoch.
	is, err := replication.TableOID(ctx, conn, a.table.Schema, a.table.Name)
	if err != nil {
		return nil, err
	}
	state, err := a.store.State(ctx)
	if err != nil {
		return nil, err
	}
	if state.Table.OID != is {
		return nil, fault.New(fault.Unavailable, "run it again when the stream has followed it: wal2vec status",
			"table %s.%s was replaced by another of the same name during the audit", a.table.Schema, a.table.Name)
	}
	return state.Jobs, nil
}

// mostPeeked bounds the log that is decoded to see what a stream has yet to bring: the server keeps
// all of it until it is read.
const mostPeeked = 1 << 30

// Peek calls each with the events of the transactions between two positions.
func (a *Opened) Peek(ctx context.Context, from, to change.LSN, each func(change.Event)) error {
	conn, err := connect.Source(ctx, a.config, "audit")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := connect.ReadOnly(ctx, conn); err != nil {
		return err
	}
	slot, err := replication.ReadSlot(ctx, conn, a.state.Slot)
	if err != nil {
		return err
	}
	if n := slot.Unconfirmed(); n > mostPeeked {
		return fault.New(fault.Usage, "wal2vec stream --until-current", "it is %s", monitor.BytesText(n))
	}
	return replication.Peek(ctx, conn, replication.PeekOptions{
		Slot: a.state.Slot, Publication: a.state.Publication, Table: a.table, From: from, To: to,
	}, each)
}
