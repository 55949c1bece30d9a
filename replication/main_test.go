package replication_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

const patience = 30 * time.Second

// bundle is a database with table public.item, a publication and a slot.
type bundle struct {
	db   *pgtest.DB
	opts replication.Options
	slot replication.Slot
	conn *pgx.Conn // of this goroutine
}

const itemTable = "CREATE TABLE public.item (id bigint PRIMARY KEY, name text, body text, price numeric, gone boolean NOT NULL DEFAULT false)"

func mustTemplate(t testing.TB, source string) change.Template {
	t.Helper()
	template, err := change.ParseTemplate(source)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// setup makes the bundle; the statements after ddl run before the slot exists.
func setup(t testing.TB, db *pgtest.DB, inspect replication.InspectOptions, ddl ...string) *bundle {
	t.Helper()
	for _, statement := range ddl {
		db.Exec(t, statement)
	}
	conn := db.Conn(t)
	table, err := replication.Inspect(t.Context(), conn, inspect)
	if err != nil {
		t.Fatal(err)
	}
	if err := replication.EnsurePublication(t.Context(), conn, "pub", table); err != nil {
		t.Fatal(err)
	}
	name := slotName(db)
	slot, err := replication.CreateSlot(t.Context(), replication.SlotOptions{ConnString: db.DSN, Name: name, Logger: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	return &bundle{db: db, slot: slot, conn: conn, opts: replication.Options{
		ConnString: db.DSN, Slot: name, Publication: "pub", Table: table, Logger: zerolog.New(zerolog.NewTestWriter(t)),
	}}
}

// slotName is unique on the server, as slots are.
func slotName(db *pgtest.DB) string { return "s_" + db.Name }

func items(t testing.TB) replication.InspectOptions {
	t.Helper()
	return replication.InspectOptions{Schema: "public", Table: "item", Key: []string{"id"}, Template: mustTemplate(t, "{name}. {body}"), SoftDelete: "gone"}
}

// running is a stream whose fragments the test takes.
type running struct {
	*replication.Stream
	out  chan change.Fragment
	stop context.CancelFunc
	done chan error
}

func (b *bundle) run(t testing.TB, from change.LSN) *running {
	t.Helper()
	return b.runAt(t, change.Place{Watermark: from})
}

func (b *bundle) runAt(t testing.TB, place change.Place) *running {
	t.Helper()
	stream, err := replication.NewSource(b.opts).Connect(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{Stream: stream, out: make(chan change.Fragment), stop: cancel, done: make(chan error, 1)}
	stream.Urge(true)
	go func() { r.done <- stream.Run(ctx, r.out) }()
	t.Cleanup(func() { r.end(t) })
	return r
}

// end stops the stream and waits for it; it may be called twice.
func (r *running) end(t testing.TB) {
	t.Helper()
	r.stop()
	if err, open := <-r.done; open {
		if err != nil {
			t.Errorf("the stream ended with %v", err)
		}
		close(r.done)
	}
}

// failure waits for the stream to end by itself.
func (r *running) failure(t testing.TB) error {
	t.Helper()
	for {
		select {
		case <-r.out:
		case err := <-r.done:
			close(r.done)
			return err
		case <-time.After(patience):
			t.Fatal("the stream did not end")
		}
	}
}

// next takes one fragment.
func (r *running) next(t testing.TB) change.Fragment {
	t.Helper()
	select {
	case f := <-r.out:
		return f
	case err := <-r.done:
		r.done <- err
		t.Fatalf("the stream ended: %v", err)
	case <-time.After(patience):
		fragments, bytes := r.Queued()
		t.Fatalf("no fragment within %s; %d of %d bytes are queued", patience, fragments, bytes)
	}
	return change.Fragment{}
}

// until takes fragments until the stream has passed lsn.
func (r *running) until(t testing.TB, lsn change.LSN) []change.Fragment {
	t.Helper()
	var out []change.Fragment
	for {
		f := r.next(t)
		out = append(out, f)
		if f.End >= lsn {
			return out
		}
	}
}

func events(fragments []change.Fragment) []change.Event {
	var out []change.Event
	for _, f := range fragments {
		out = append(out, f.Events...)
	}
	return out
}

// now is the end of the log.
func (b *bundle) now(t testing.TB) change.LSN {
	t.Helper()
	lsn, err := replication.NewSource(b.opts).Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return lsn
}

// confirmed is what the server has of the slot.
func (b *bundle) confirmed(t testing.TB) change.LSN {
	t.Helper()
	state, err := replication.ReadSlot(t.Context(), b.conn, b.opts.Slot)
	if err != nil {
		t.Fatal(err)
	}
	return state.ConfirmedFlush
}

func timedOut(err error) bool { return errors.Is(err, context.DeadlineExceeded) }
