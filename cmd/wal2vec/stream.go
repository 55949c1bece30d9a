package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
	"github.com/wal2vec/wal2vec/models"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/backfill"
	"github.com/wal2vec/wal2vec/replication/pgoutput"
	"github.com/wal2vec/wal2vec/sink"
)

func newStream(p *program) *cobra.Command {
	var untilCurrent bool
	cmd := &cobra.Command{
		Use: "stream", Short: "Follow the table until stopped", GroupID: "work", Args: cobra.NoArgs,
		Long: "Follow the table: every committed change is encoded and searchable within milliseconds. SIGINT or SIGTERM drains what\n" +
			"was taken in and stops; a second one stops at once. Nothing is lost either way: the next start goes on from the watermark.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			return p.stream(cmd.Context(), c, untilCurrent)
		},
	}
	cmd.Flags().BoolVar(&untilCurrent, "until-current", false, "end when everything committed before the start is in the sink (for cron and Prefect)")
	return cmd
}

func (p *program) stream(ctx context.Context, c config.Config, untilCurrent bool) error {
	log := p.logger(c.Log)
	f, err := p.openFollower(ctx, c, log)
	if err != nil {
		return err
	}
	defer f.Close()
	stream := f.newStream(untilCurrent)
	var totals pipeline.Totals
	run := func(ctx context.Context) (err error) {
		totals, err = stream.Run(ctx)
		return err
	}
	if untilCurrent {
		err = run(ctx)
	} else {
		err = f.serve(ctx, stream, run)
	}
	log.Info().Stringer("lsn", totals.Watermark).Int64("batches", totals.Batches).Int64("events", totals.Events).
		Int64("encoded", totals.TextsEncoded).Dur("took", totals.Duration).Msg("stream ended")
	if err == nil && untilCurrent && !totals.Current {
		return fault.New(fault.Unavailable, "start it again: nothing is lost", "stopped at %s, before it was up to date", totals.Watermark)
	}
	if err == nil && totals.Current {
		_, err = fmt.Fprintf(p.stdout, "up to date at %s: %d upserts, %d deletes, %d texts encoded, %d batches, %s\n",
			totals.Watermark, totals.Upserts, totals.Deletes, totals.TextsEncoded, totals.Batches, totals.Duration.Round(time.Millisecond))
	}
	return err
}

// follower is everything that a stream needs, opened and checked.
type follower struct {
	config  config.Config
	log     zerolog.Logger
	engine  *engine
	store   *store
	table   change.Table
	state   sink.State
	gate    *replication.Gate
	reader  *backfill.Reader
	metrics *monitor.Metrics
}

// openFollower opens the encoder (whose self-test comes before the slot is touched), both databases, and checks that source, sink
// and model are those that belong together.
func (p *program) openFollower(ctx context.Context, c config.Config, log zerolog.Logger) (f *follower, err error) {
	f = &follower{config: c, log: log}
	opened := f // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			opened.Close()
		}
	}()
	if f.table, err = inspect(ctx, c); err != nil {
		return nil, err
	}
	if f.store, err = openStore(ctx, c, log, "stream"); err != nil {
		return nil, err
	}
	if f.state, err = f.store.State(ctx); err != nil {
		return nil, err
	}
	f.engine, err = p.openEncoderIf(ctx, c, func(checkpoint *models.Checkpoint) error {
		return checkState(c, f.state, f.table, generationOf(c, checkpoint))
	})
	if err != nil {
		return nil, err
	}
	f.gate = replication.NewGate(replication.GateOptions{
		ConnString: c.Source.DSN.Reveal(), SystemID: f.state.SystemID, Slot: c.Source.Slot,
	})
	f.reader = newReader(c, f.table)
	build := buildVersion()
	f.metrics = monitor.NewMetrics(monitor.MetricsOptions{Pipeline: c.Pipeline, Version: build.Version, Revision: build.Commit})
	return f, nil
}

// checkState compares what is configured and what is there with what the pipeline was set up for.
func checkState(c config.Config, state sink.State, table change.Table, generation sink.Generation) error {
	if err := checkGeneration(state, generation); err != nil {
		return err
	}
	switch {
	case state.Table.Schema != table.Schema || state.Table.Name != table.Name:
		return fault.New(fault.Usage, "put source.table back, or name another pipeline",
			"pipeline %q reads %s.%s, not %s.%s", c.Pipeline, state.Table.Schema, state.Table.Name, table.Schema, table.Name)
	case state.Slot != c.Source.Slot || state.Publication != c.Source.Publication:
		return fault.New(fault.Usage, "put source.slot and source.publication back",
			"pipeline %q streams from slot %q and publication %q, not %q and %q",
			c.Pipeline, state.Slot, state.Publication, c.Source.Slot, c.Source.Publication)
	case state.Table.OID != table.OID:
		return fault.New(fault.Gap, "wal2vec init --resync, then wal2vec backfill",
			"table %s.%s was replaced by another of the same name (OID %d, was %d): its changes are not published",
			table.Schema, table.Name, table.OID, state.Table.OID)
	default:
		return nil
	}
}

// Close closes what was opened.
func (f *follower) Close() {
	if f.reader != nil {
		f.reader.Close(context.Background())
	}
	if f.gate != nil {
		f.gate.Close(context.Background())
	}
	if f.store != nil {
		f.store.Close()
	}
	if f.engine != nil {
		_ = f.engine.Close()
	}
}

// newStream wires the stream.
func (f *follower) newStream(untilCurrent bool) *pipeline.Stream {
	c := f.config
	source := replication.NewSource(replication.Options{
		ConnString: c.Source.DSN.Reveal(), Slot: c.Source.Slot, Publication: c.Source.Publication, Table: f.table,
		SystemID: f.state.SystemID, Timeline: f.state.Timeline, Limits: fragmentLimits(c.Stream), Logger: f.log,
	})
	return pipeline.NewStream(pipeline.Ports{
		Source: sourcePort{source}, CheckTable: source.CheckTable,
		Gate: f.gate, Rows: rowsPort{f.reader}, Encoder: &watchedEncoder{vectorizer: f.engine, metrics: f.metrics},
		Sink: sinkPort{f.store.Sink, ownerName()}, Observer: f.metrics,
	}, pipeline.StreamOptions{
		Template: f.table.Template,
		Limits: batch.Limits{
			Rows: c.Stream.MaxRows, Tokens: c.Stream.MaxTokens, Bytes: int(c.Stream.MaxBytes), Age: c.Stream.MaxAge,
		},
		IdleInterval: c.Stream.IdleInterval, DrainTimeout: c.Stream.DrainTimeout, SlotWait: c.Source.SlotWait, RetryMax: c.Stream.RetryMax,
		UntilCurrent: untilCurrent, Logger: f.log,
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

// sourcePort gives the replication source the pipeline's interface.
type sourcePort struct{ *replication.Source }

func (s sourcePort) Connect(ctx context.Context, from change.LSN) (pipeline.Replication, error) {
	stream, err := s.Source.Connect(ctx, from)
	if err != nil {
		return nil, err
	}
	return stream, nil
}

// rowsPort reads rows that no crash of the source can take back: the stream writes them at once.
type rowsPort struct{ reader *backfill.Reader }

func (r rowsPort) Rows(ctx context.Context, keys []change.Key) ([]change.Row, change.LSN, error) {
	return r.reader.DurableRows(ctx, keys)
}

// sinkPort gives the sink the pipeline's interface.
type sinkPort struct {
	*sink.Sink
	owner string
}

func (s sinkPort) Takeover(ctx context.Context) (pipeline.Writer, error) {
	stream, err := s.Sink.Takeover(ctx, s.owner)
	if err != nil {
		return nil, err
	}
	return stream, nil
}
