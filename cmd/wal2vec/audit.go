package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/encoder"
	"github.com/wal2vec/wal2vec/internal/audit"
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

type auditOptions struct {
	full       bool
	sample     int
	reencode   int
	generation int
	repair     bool
	restart    bool
	state      string
	output     string
}

func newAudit(p *program) *cobra.Command {
	var o auditOptions
	cmd := &cobra.Command{
		Use: "audit", Short: "Compare the source with the vectors, row by row", GroupID: "look", Args: cobra.NoArgs,
		Long: "Compare rows of the source with the vectors of a generation, beside a running stream or alone, and encode some of the texts again.\n" +
			"Nothing is written but by --repair. A sample is compared, or everything with --full; the same command goes on with an interrupted\n" +
			"full audit. Every difference is looked at twice, the second time by its key, once the watermark has passed the row: what a\n" +
			"stream is about to write is no finding. Where no stream runs, what changed since the watermark is pending.\n\n" +
			"Exit code 3 says that there are findings, with --repair that some are left. The fields of -o json are described in docs/status.md.",
		Example: "  wal2vec audit\n  wal2vec audit --full --repair",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			return p.audit(cmd.Context(), c, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.full, "full", false, "compare every row")
	flags.IntVar(&o.sample, "sample", 10_000, "compare so many rows, and look up so many keys of the sink")
	flags.IntVar(&o.reencode, "reencode", 200, "encode so many texts again, up to twice as many where rows are few; 0 for none")
	flags.IntVar(&o.generation, "generation", 0, "generation to audit (default: the active one)")
	flags.BoolVar(&o.repair, "repair", false, "read the rows of the findings again and write them, in every generation")
	flags.BoolVar(&o.restart, "restart", false, "begin again, also where a full audit was interrupted")
	flags.StringVar(&o.state, "state", "", "file that keeps how far a full audit is (default: in the user's cache folder)")
	outputFlag(cmd, &o.output)
	exclusive(cmd, "full", "sample")
	return cmd
}

// mostSample bounds a sample: its keys are in memory.
const mostSample = 1_000_000

func (o *auditOptions) check(cmd *cobra.Command) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	switch {
	case o.sample < 1 || o.sample > mostSample:
		return fault.New(fault.Usage, "--full for every row", "--sample must be between 1 and %d", mostSample)
	case o.reencode < 0:
		return fault.New(fault.Usage, "--reencode 0 for none", "--reencode must be 0 or more")
	case o.generation < 0 || o.generation == 0 && cmd.Flags().Changed("generation"):
		return fault.New(fault.Usage, "wal2vec generation list", "--generation must be the number of a generation")
	case !o.full && (o.restart || o.state != ""):
		return fault.New(fault.Usage, "add --full", "--restart and --state are for an audit of everything")
	}
	return nil
}

// auditing is everything that an audit needs, opened and checked.
type auditing struct {
	program *program
	config  config.Config
	log     zerolog.Logger
	options auditOptions

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

func (p *program) openAuditing(ctx context.Context, c config.Config, log zerolog.Logger, o auditOptions) (a *auditing, err error) {
	a = &auditing{program: p, options: o, config: c, log: log}
	opened := a // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			opened.Close()
		}
	}()
	if a.table, err = connect.Inspect(ctx, c); err != nil {
		return nil, err
	}
	if a.store, err = connect.OpenReadOnlyStore(ctx, c, log, "audit"); err != nil {
		return nil, err
	}
	if a.state, err = a.store.State(ctx); err != nil {
		return nil, err
	}
	if a.engines, err = p.opener(c).Pool(c, a.store, a.state); err != nil {
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
	if a.audit, err = a.store.OpenAudit(ctx, o.generation); err != nil {
		return nil, err
	}
	if a.made, err = a.engines.CheckpointFor(a.audit.Generation()); err != nil {
		return nil, err
	}
	engines := a.engines
	if o.repair {
		if a.repairs, err = backfill.Open(ctx, p.opener(c), c, log); err != nil {
			return nil, err
		}
		engines = a.repairs.Engines // one model in memory is enough
	}
	if o.reencode > 0 {
		if a.encoder, err = engines.Engine(ctx, a.audit.Generation()); err != nil {
			return nil, err
		}
	}
	a.reader = rows.NewReader(rows.Options{
		ConnString: c.Source.DSN.Reveal(), Table: a.table, SystemID: a.state.SystemID, Timeline: a.state.Timeline, Application: "wal2vec/audit",
		TrustOwner: c.Source.TrustOwner, Warn: connect.WarnOfCode(log),
	})
	if err := a.reader.Open(ctx); err != nil { // before anything is encoded
		return nil, err
	}
	a.positions = connect.NewPositions(c, a.store)
	return a, nil
}

// Close closes what was opened.
func (a *auditing) Close() {
	if a.repairs != nil {
		a.repairs.Close(context.Background())
	}
	if a.positions != nil {
		a.positions.Close(context.Background())
	}
	if a.reader != nil {
		a.reader.Close(context.Background())
	}
	_ = a.engines.Close()
	if a.store != nil {
		a.store.Close()
	}
}

func (p *program) audit(ctx context.Context, c config.Config, o auditOptions) error {
	a, err := p.openAuditing(ctx, c, p.logger(c.Log), o)
	if err != nil {
		return err
	}
	defer a.Close()
	file := a.file()
	from, err := file.load()
	if err != nil {
		return err
	}
	before := from.Rows
	var report audit.Report
	err = a.store.Trusting(ctx, func(ctx context.Context) (err error) {
		report, err = audit.New(a.ports(file), a.auditOptions(), from).Run(ctx)
		return err
	})
	if errors.Is(err, protocol.ErrGenerations) {
		err = fault.Wrap(err, fault.Unavailable, "run it again", "auditing")
	}
	if err != nil {
		if o.full {
			_, _ = fmt.Fprintf(p.stderr, "audit interrupted after %s; the same command goes on from there\n", counted(report.Rows, "row"))
		}
		return err
	}
	if !report.Stopped {
		file.remove()
	}
	return a.print(&auditOutcome{Report: report, resumed: before > 0})
}

// ports wires what the audit reads and writes.
func (a *auditing) ports(file auditFile) audit.Ports {
	ports := audit.Ports{Reader: a.reader, Sink: a.audit, Positions: a, Log: a, Save: file.save}
	if a.encoder != nil {
		ports.Encoder = a.encoder
	}
	if a.repairs != nil {
		ports.Repair = a.repairs.Rewrite
	}
	return ports
}

func (a *auditing) auditOptions() audit.Options {
	g, c := a.audit.Generation(), a.config
	o := audit.Options{
		Rows: a.table.Template, Template: a.audit.TemplateNumber(), Normalised: a.made.Normalised(), MinCosine: 1, Sample: a.options.sample,
		Reencode: a.options.reencode, ChunkKeys: c.Backfill.ChunkKeys, WaitTimeout: c.Backfill.WaitTimeout, Progress: a.progress(),
	}
	if a.options.full {
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
func (a *auditing) progress() func(*audit.Report) {
	logged := time.Now()
	return func(r *audit.Report) {
		if time.Since(logged) < backfill.LogInterval {
			return
		}
		logged = time.Now()
		a.log.Info().Str("phase", string(r.Phase)).Int64("rows", r.Rows).Int64("keys", r.Keys).Int64("findings", r.Found()).Msg("audit")
	}
}

// Version is the watermark as committed in the sink.
func (a *auditing) Version(ctx context.Context) (change.Version, error) {
	return a.positions.Version(ctx)
}

// Streaming reports whether a process reads the slot.
func (a *auditing) Streaming(ctx context.Context) (bool, error) { return a.positions.Streaming(ctx) }

// WaitFor returns when the watermark has reached lsn.
func (a *auditing) WaitFor(ctx context.Context, lsn change.LSN) error {
	return a.store.WaitFor(ctx, lsn)
}

// Jobs lists the open backfills. It fails where another table has the name of the one that the
// pipeline follows.
func (a *auditing) Jobs(ctx context.Context) ([]sink.JobState, error) {
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
func (a *auditing) Peek(ctx context.Context, from, to change.LSN, each func(change.Event)) error {
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
