package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/encoder/encodertest"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgtest"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/pgoutput"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const (
	patience  = 30 * time.Second
	dimension = 8
	pipe      = "item"
	template  = "{name}. {body}"
)

// server is a source on which a commit hangs, in the log and invisible, in every session that turns
// synchronous_commit on: it waits for a standby that does not exist. All other sessions commit as
// ever.
func server(t *testing.T) *pgtest.Host {
	t.Helper()
	return pgtest.Server(t, "synchronous_standby_names=nobody", "synchronous_commit=local", "autovacuum=off")
}

// rig is a pipeline from a table of a server to a sink on another one, which streams.
type rig struct {
	t      *testing.T
	db     *pgtest.DB // the source
	sinkDB *pgtest.DB
	pool   *pgxpool.Pool
	sink   *sink.Sink
	table  change.Table
	slot   replication.Slot
	// streamed are the transactions that change the table, as they come from the source.
	streamed chan change.Fragment
	// afterRead is called when a chunk's rows were read, before anything else is done with them;
	// may be nil.
	afterRead func(protocol.RowChunk)
	// swap follows the table when another takes its name; may be nil.
	swap *swapper
	// stop ends the stream.
	stop func()
}

// setup makes a table of ten rows, one with a text that is stored out of line, and a pipeline that
// has them in its sink and streams.
func setup(t *testing.T, host *pgtest.Host) *rig {
	t.Helper()
	r := &rig{t: t, db: host.Database(t), sinkDB: pgtest.SinkDatabase(t), streamed: make(chan change.Fragment, 1000)}
	r.db.Exec(t, "CREATE TABLE public.other (id bigint); CREATE TABLE public.item (id bigint PRIMARY KEY, name text, body text); ALTER TABLE public.item ALTER body SET STORAGE EXTERNAL")
	r.db.Exec(t, "INSERT INTO item SELECT g, 'old ' || g, CASE g WHEN 7 THEN repeat('long, ', 2000) || 'end' ELSE 'text' END FROM generate_series(1, 10) AS g")
	r.pool = r.sinkDB.Pool(t)
	r.sink = sink.New(sink.Options{Pool: r.pool, Pipeline: pipe, View: "analytics_features.items", Logger: zerolog.Nop()})
	r.register()
	r.stream()
	r.ok(r.backfill())
	r.settled()
	return r
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%v (try: %s)", err, fault.Try(err))
	}
}

// register makes publication, slot, the sink's tables and the start of the pipeline.
func (r *rig) register() {
	r.t.Helper()
	ctx, conn := r.t.Context(), r.db.Conn(r.t)
	parsed, err := change.ParseTemplate(template)
	r.ok(err)
	r.table, err = replication.Inspect(ctx, conn, replication.InspectOptions{Schema: "public", Table: "item", Key: []string{"id"}, Template: parsed})
	r.ok(err)
	r.ok(replication.EnsurePublication(ctx, conn, "pub", r.table))
	info, err := replication.Server(ctx, conn)
	r.ok(err)
	r.slot, err = replication.CreateSlot(ctx, replication.SlotOptions{ConnString: r.db.DSN, Name: "s_" + r.db.Name, Logger: zerolog.Nop()})
	r.ok(err)
	r.ok(r.sink.Migrate(ctx))
	r.ok(r.sink.Register(ctx, sink.Pipeline{
		SystemID: info.SystemID, Timeline: info.Timeline, Slot: r.slot.Name, Publication: "pub", Table: r.table,
	}))
	_, err = r.sink.EnsureGeneration(ctx, sink.Generation{
		Fingerprint: "f", Model: "fake", Template: template, Dimension: dimension, Storage: sink.Vector, Precision: "fp32",
	})
	r.ok(err)
	r.ok(r.sink.Start(ctx, sink.Start{
		From: r.state().Epoch, Slot: r.slot.Name, ConsistentPoint: r.slot.ConsistentPoint, SystemID: info.SystemID, Timeline: info.Timeline,
		SourceOID: r.table.OID,
	}))
}

func (r *rig) state() sink.State {
	r.t.Helper()
	st, err := r.sink.State(r.t.Context())
	r.ok(err)
	return st
}

// stream streams until the test ends. Batches hold three rows, so that a transaction of more is
// written in parts.
func (r *rig) stream() {
	r.t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(r.t.Context()))
	gate := replication.NewGate(replication.GateOptions{ConnString: r.db.DSN, Slot: r.slot.Name})
	rows := r.reader()
	ports := pipeline.Ports{
		Source: tapped{r, r.streamed}, Gate: gate, Rows: durable{rows}, Encoders: oneEncoder{encodertest.NewFake(dimension)}, Sink: owned{r.sink}, Observer: deaf{},
	}
	if r.swap != nil {
		ports.Swap = r.swap
	}
	stream := pipeline.NewStream(ports, pipeline.StreamOptions{
		Limits:       batch.Limits{Rows: 3, Tokens: 1 << 20, Bytes: 1 << 20, Age: 50 * time.Millisecond},
		IdleInterval: 50 * time.Millisecond, DrainTimeout: 5 * time.Second, SlotWait: patience, RetryMax: time.Second, Logger: zerolog.New(zerolog.NewTestWriter(r.t)),
	})
	done := make(chan error, 1)
	go func() {
		_, err := stream.Run(ctx)
		done <- err
	}()
	r.stop = sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			r.t.Errorf("the stream ended with %v", err)
		}
		gate.Close(context.WithoutCancel(ctx))
		rows.Close(context.WithoutCancel(ctx))
	})
	r.t.Cleanup(r.stop)
	pgtest.Eventually(r.t, patience, func() (bool, string) { return r.state().Owner != "", "the stream does not begin" })
}

func (r *rig) reader() *rows.Reader {
	return rows.NewReader(rows.Options{ConnString: r.db.DSN, Table: r.table, Application: "reader " + r.db.Name})
}

// backfill runs a refresh over the whole table, in chunks of four rows.
func (r *rig) backfill() error { return r.job(sink.JobParams{Mode: sink.Incremental}) }

// job runs a job over the whole table, in chunks of four rows.
func (r *rig) job(params sink.JobParams) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	reader := r.reader()
	defer reader.Close(context.WithoutCancel(ctx))
	job, err := r.sink.OpenJob(ctx, params)
	if err != nil {
		return err
	}
	defer job.Close()
	_, err = pipeline.NewBackfill(pipeline.BackfillPorts{
		Reader: watched{reader, r.afterRead}, Job: job, Positions: streaming{r.sink}, Encoders: oneEncoder{encodertest.NewFake(dimension)},
	}, pipeline.BackfillOptions{
		Template: r.table.Template, ChunkKeys: 4, InFlight: 2, WaitTimeout: patience, RetryMax: time.Second, Logger: zerolog.Nop(),
	}).Run(ctx)
	return err
}

func (r *rig) watermark() change.LSN {
	r.t.Helper()
	v, err := r.sink.Version(r.t.Context())
	r.ok(err)
	return v.LSN
}

// passed waits until the watermark has reached a position.
func (r *rig) passed(lsn change.LSN) {
	r.t.Helper()
	pgtest.Eventually(r.t, patience, func() (bool, string) {
		w := r.watermark()
		return w >= lsn, fmt.Sprintf("the watermark is at %s, not at %s", w, lsn)
	})
}

// end is the end of the source's log.
func (r *rig) end() change.LSN {
	r.t.Helper()
	lsn, err := change.ParseLSN(pgtest.One[string](r.t, r.db, "SELECT pg_current_wal_insert_lsn()::text"))
	r.ok(err)
	return lsn.RecordEnd()
}

// rows are the source's rows as everybody sees them: key to text.
func (r *rig) rows() map[string]string {
	r.t.Helper()
	out := make(map[string]string)
	for _, row := range pgtest.Column[string](r.t, r.db, "SELECT id || ' ' || name || '. ' || body FROM item") {
		key, text, _ := strings.Cut(row, " ")
		out[key] = text
	}
	return out
}

// settled waits for the stream to pass the end of the log and compares the sink with the source:
// ledger, texts, vectors.
func (r *rig) settled() {
	r.t.Helper()
	r.passed(r.end())
	want := make(map[string]string)
	for key, text := range r.rows() {
		want[key] = change.HashText(text).String()
	}
	got := make(map[string]string)
	for _, row := range pgtest.Column[string](r.t, r.sinkDB, "SELECT id || ' ' || encode(text_hash, 'hex') FROM wal2vec.ledger_item WHERE NOT deleted") {
		key, hash, _ := strings.Cut(row, " ")
		got[key] = hash
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		switch {
		case got[key] == "":
			r.t.Errorf("key %s is in the source and not in the sink", key)
		case got[key] != want[key]:
			r.t.Errorf("key %s: the sink has a stale text", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if want[key] == "" {
			r.t.Errorf("key %s was resurrected: it is gone from the source", key)
		}
	}
	r.vectorsOf("vectors_item_1")
}

// vectorsOf compares the texts of a generation's vectors with the ledger's.
func (r *rig) vectorsOf(table string) {
	r.t.Helper()
	odd := pgtest.Column[int64](r.t, r.sinkDB, "SELECT id FROM wal2vec.ledger_item AS l FULL JOIN wal2vec."+table+" AS v USING (id) "+
		"WHERE coalesce(l.text_hash, '') <> coalesce(v.text_hash, '')")
	if len(odd) > 0 {
		r.t.Errorf("the vectors of the keys %v in %s are not those of the ledger's texts", odd, table)
	}
}

// tapped is a source whose transactions are told to the test before they are delivered.
type tapped struct {
	*rig
	seen chan<- change.Fragment
}

// source reads the log for the table that is followed, and waits for the transactions of the one
// that is to be.
func (s tapped) source() *replication.Source {
	options := replication.Options{
		ConnString: s.db.DSN, Slot: s.slot.Name, Publication: "pub", Table: s.table, Limits: pgoutput.Limits{Events: 3}, Logger: zerolog.Nop(),
	}
	if s.swap != nil {
		options.Table.OID, options.Successor = s.swap.tables()
	}
	return replication.NewSource(options)
}

func (s tapped) Check(ctx context.Context, from change.LSN) error { return s.source().Check(ctx, from) }

func (s tapped) Current(ctx context.Context) (change.LSN, error) { return s.source().Current(ctx) }

func (s tapped) Connect(ctx context.Context, place change.Place) (pipeline.Replication, error) {
	stream, err := s.source().Connect(ctx, place)
	if err != nil {
		return nil, err
	}
	return tap{stream, s.seen}, nil
}

type tap struct {
	*replication.Stream
	seen chan<- change.Fragment
}

func (s tap) Run(ctx context.Context, out chan<- change.Fragment) error {
	delivered, done := make(chan change.Fragment), make(chan struct{})
	go func() {
		defer close(done)
		for f := range delivered {
			if f.XID != 0 && len(f.Events) > 0 {
				s.seen <- f
			}
			select {
			case out <- f:
			case <-ctx.Done():
			}
		}
	}()
	err := s.Stream.Run(ctx, delivered)
	close(delivered)
	<-done
	return err
}

// durable, owned and streaming are wired as the program does it.
type durable struct{ reader *rows.Reader }

func (d durable) Rows(ctx context.Context, keys []change.Key) ([]change.Row, change.LSN, error) {
	return d.reader.DurableRows(ctx, keys)
}

type owned struct{ *sink.Sink }

func (s owned) Takeover(ctx context.Context) (pipeline.Writer, error) {
	v, err := s.Version(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := s.Sink.Takeover(ctx, fmt.Sprint("owner ", time.Now().UnixNano()), v.Epoch)
	if err != nil {
		return nil, err
	}
	return stream, nil
}

type streaming struct{ *sink.Sink }

func (streaming) Streaming(context.Context) (bool, error) { return true, nil }

// watched tells when a chunk was read.
type watched struct {
	*rows.Reader
	afterRead func(protocol.RowChunk)
}

func (w watched) Chunk(ctx context.Context, after change.Key, limit int) (protocol.RowChunk, error) {
	c, err := w.Reader.Chunk(ctx, after, limit)
	if err == nil && w.afterRead != nil {
		w.afterRead(c)
	}
	return c, err
}

// deaf observes nothing.
type deaf struct{}

func (deaf) StreamActive(bool)                                    {}
func (deaf) BatchCommitted(string, map[change.Op]int, change.LSN) {}
func (deaf) Freshness(time.Duration, int)                         {}
func (deaf) Stage(string, time.Duration)                          {}
func (deaf) TextsEncoded(int)                                     {}
func (deaf) Pending(time.Time)                                    {}
func (deaf) Retried(string)                                       {}

// hung is a session whose commit is in the log, and invisible until it is let go.
type hung struct {
	pid  uint32
	done chan error
}

// hang commits a statement in a session that waits for the standby.
func (r *rig) hang(statement string) *hung {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), r.db.DSN)
	r.ok(err)
	_, err = conn.Exec(r.t.Context(), "SET synchronous_commit = on")
	r.ok(err)
	h := &hung{pid: conn.PgConn().PID(), done: make(chan error, 1)}
	ctx := context.WithoutCancel(r.t.Context())
	go func() {
		_, err := conn.Exec(ctx, statement)
		h.done <- errors.Join(err, conn.Close(ctx))
	}()
	r.t.Cleanup(func() { r.release(h) })
	pgtest.Eventually(r.t, patience, func() (bool, string) {
		event := pgtest.One[string](r.t, r.db, "SELECT coalesce(max(wait_event), '') FROM pg_stat_activity WHERE pid = $1", h.pid)
		return event == "SyncRep", fmt.Sprintf("the commit waits for %q, not for the standby", event)
	})
	return h
}

// release ends the wait for the standby, as an administrator would: the commit is visible from now
// on. It may be called twice.
func (r *rig) release(h *hung) {
	r.t.Helper()
	if h.done == nil {
		return
	}
	r.db.Exec(r.t, "SELECT pg_cancel_backend($1)", h.pid)
	if err := <-h.done; err != nil {
		r.t.Errorf("the statement ended with %v", err)
	}
	h.done = nil
}

// oneEncoder encodes for a sink that has one generation, whatever its number.
type oneEncoder struct{ pipeline.Encoder }

func (o oneEncoder) Of(context.Context, int) (pipeline.Encoder, error) { return o.Encoder, nil }
