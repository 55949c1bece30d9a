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
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/engine"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/follow"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/setup"
	"github.com/wal2vec/wal2vec/internal/test/enginetest"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const (
	patience = 30 * time.Second
	template = "{name}. {body}"
)

// server is a source on which a commit hangs, in the log and invisible, in every session that turns
// synchronous_commit on: it waits for a standby that does not exist. All other sessions commit as
// ever.
func server(t *testing.T) *pgtest.Host {
	t.Helper()
	return pgtest.Server(t, "synchronous_standby_names=nobody", "synchronous_commit=local", "autovacuum=off")
}

// rig is a pipeline from a table of a server to a sink on another one, which streams. What runs it
// is what the program runs: internal/setup, internal/follow and internal/backfill.
type rig struct {
	t      *testing.T
	db     *pgtest.DB // the source
	sinkDB *pgtest.DB
	config config.Config
	opener engine.Opener
	sink   *connect.Store
	// streamed are the transactions that change the table, as they come from the source.
	streamed chan change.Fragment
	// afterRead is called when a chunk's rows were read, before anything else is done with them;
	// may be nil.
	afterRead func(protocol.RowChunk)
	// swap sees how the stream follows the table when another takes its name.
	swap *swapTap
	// stop ends the stream.
	stop func()
}

// setUp makes a table of ten rows, one with a text that is stored out of line, and a pipeline that
// has them in its sink and streams.
func setUp(t *testing.T, host *pgtest.Host) *rig {
	t.Helper()
	r := &rig{
		t: t, db: host.Database(t), sinkDB: pgtest.SinkDatabase(t), opener: enginetest.Opener(t),
		streamed: make(chan change.Fragment, 1000), swap: newSwapTap(),
	}
	r.db.Exec(t, "CREATE TABLE public.other (id bigint); CREATE TABLE public.item (id bigint PRIMARY KEY, name text, body text); ALTER TABLE public.item ALTER body SET STORAGE EXTERNAL")
	r.db.Exec(t, "INSERT INTO item SELECT g, 'old ' || g, CASE g WHEN 7 THEN repeat('long, ', 2000) || 'end' ELSE 'text' END FROM generate_series(1, 10) AS g")
	r.config = settingsFor(r.db, r.sinkDB)
	parsed, err := change.ParseTemplate(template)
	r.ok(err)
	r.config.Source.Table, r.config.Source.Template = config.Name{Schema: "public", Name: "item"}, parsed
	initialise(t, r.config, r.opener)
	r.sink = connect.NewStore(r.sinkDB.Pool(t), r.config, zerolog.Nop())
	r.stream()
	r.ok(r.backfill())
	r.settled()
	return r
}

// settingsFor are those of a pipeline, but for its table and template. Batches hold three rows, so
// that a transaction of more is written in parts, and chunks hold four.
func settingsFor(from, to *pgtest.DB) config.Config {
	c := config.Default()
	c.Pipeline = "item"
	c.Source.DSN, c.Source.Key, c.Source.SoftDelete = config.DSN(from.DSN), []string{"id"}, ""
	c.Source.Slot, c.Source.Publication, c.Source.SlotWait = "s_"+from.Name, "pub", patience
	c.Sink.DSN, c.Sink.View = config.DSN(to.DSN), config.Name{Schema: "analytics_features", Name: "items"}
	c.Stream.MaxRows, c.Stream.MaxAge, c.Stream.IdleInterval = 3, 50*time.Millisecond, 50*time.Millisecond
	c.Stream.DrainTimeout, c.Stream.RetryMax = 5*time.Second, time.Second
	c.Backfill.ChunkKeys, c.Backfill.InFlight, c.Backfill.WaitTimeout = 4, 2, patience
	return c
}

// initialise makes a pipeline, as wal2vec init does, and returns its first watermark.
func initialise(t *testing.T, c config.Config, o engine.Opener) change.LSN {
	t.Helper()
	made, err := setup.Prepare(t.Context(), c, zerolog.Nop(), setup.Options{Opener: o})
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close(t.Context())
	if _, err := made.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := made.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v.LSN
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%v (try: %s)", err, fault.Try(err))
	}
}

func (r *rig) state() sink.State {
	r.t.Helper()
	st, err := r.sink.State(r.t.Context())
	r.ok(err)
	return st
}

// stream streams until the test ends.
func (r *rig) stream() {
	r.t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(r.t.Context()))
	f, err := follow.Open(ctx, follow.Options{
		Config: r.config, Log: zerolog.New(zerolog.NewTestWriter(r.t)), Opener: r.opener, Around: r.around,
	})
	r.ok(err)
	done := make(chan error, 1)
	go func() {
		_, err := f.Run(ctx, f.NewStream(false))
		done <- err
	}()
	r.stop = sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			r.t.Errorf("the stream ended with %v", err)
		}
		f.Close(context.WithoutCancel(ctx))
	})
	r.t.Cleanup(r.stop)
	pgtest.Eventually(r.t, patience, func() (bool, string) { return r.state().Owner != "", "the stream does not begin" })
}

// around shows the test what comes from the source, and how a swap is followed.
func (r *rig) around(ports pipeline.Ports) pipeline.Ports {
	ports.Source = tapped{ports.Source, r.streamed}
	ports.Swap = r.swap.around(ports.Swap)
	ports.CheckTable = r.swap.look(ports.CheckTable)
	return ports
}

// backfill runs a backfill over the whole table.
func (r *rig) backfill() error {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	f, err := backfill.Open(ctx, r.opener, r.config, zerolog.Nop())
	if err != nil {
		return err
	}
	defer f.Close(ctx)
	f.Around = r.watched
	return f.Backfill(ctx, backfill.Options{}, backfill.Quiet{})
}

// watched shows the test each chunk that is read.
func (r *rig) watched(reader pipeline.ChunkReader) pipeline.ChunkReader {
	return watched{reader, r.afterRead}
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
	pipeline.Source
	seen chan<- change.Fragment
}

func (s tapped) Connect(ctx context.Context, place change.Place) (pipeline.Replication, error) {
	stream, err := s.Source.Connect(ctx, place)
	if err != nil {
		return nil, err
	}
	return tap{stream, s.seen}, nil
}

type tap struct {
	pipeline.Replication
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
	err := s.Replication.Run(ctx, delivered)
	close(delivered)
	<-done
	return err
}

// watched tells when a chunk was read.
type watched struct {
	pipeline.ChunkReader
	afterRead func(protocol.RowChunk)
}

func (w watched) Chunk(ctx context.Context, after change.Key, limit int) (protocol.RowChunk, error) {
	c, err := w.ChunkReader.Chunk(ctx, after, limit)
	if err == nil && w.afterRead != nil {
		w.afterRead(c)
	}
	return c, err
}

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
