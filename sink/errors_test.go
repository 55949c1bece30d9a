package sink_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// says checks the whole line of an error of kind fault.Usage, and its advice.
func (b *bench) says(err error, line, try string) {
	b.tb.Helper()
	b.wantKind(err, fault.Usage)
	if err != nil && (err.Error() != line || fault.Try(err) != try) {
		b.tb.Errorf("got  %v (try: %s)\nwant %s (try: %s)", err, fault.Try(err), line, try)
	}
}

func TestBeforeInitEveryCommandSaysSoInOneLine(t *testing.T) {
	t.Parallel()
	b := prepare(t)
	for what, run := range map[string]func() error{
		"list":     func() error { _, err := b.sink.Generations(t.Context()); return err },
		"build":    func() error { _, _, err := b.sink.BuildGeneration(t.Context(), second()); return err },
		"activate": func() error { _, err := b.sink.Activate(t.Context(), sink.Activation{ID: 1}); return err },
		"retiring": func() error { _, err := b.sink.Retiring(t.Context(), 1); return err },
		"retire":   func() error { _, err := b.sink.Retire(t.Context(), 1); return err },
		"letters":  func() error { _, err := b.sink.DeadLetters(t.Context(), 1); return err },
		"job":      func() error { _, err := b.sink.OpenJob(t.Context(), everything); return err },
		"state":    func() error { _, err := b.sink.State(t.Context()); return err },
	} {
		t.Log(what)
		b.says(run(), `wal2vec is not set up in schema "wal2vec" of the sink`, "wal2vec init, as the role that sets it up")
	}
}

func TestWhoIsNotTheOwnerIsToldWhoIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := upsert(1, 0x1101, "one")
	b.commit(b.takeover(), 0x1200, one)
	b.filled(b.build(second()), one)
	owner := pgtest.One[string](t, b.db, "SELECT current_user::text")
	for _, access := range []sink.Access{sink.Write, sink.Read, ""} {
		name, password := b.db.Role(t, "")
		if access != "" {
			b.ok(b.sink.Grant(t.Context(), sink.Grant{Role: name, Access: access}))
		}
		other := b.as(name, password)
		third := second()
		third.Fingerprint = "a third"
		for doing, run := range map[string]func() error{
			"activating a generation": func() error { _, err := other.Activate(t.Context(), sink.Activation{ID: 2}); return err },
			"retiring a generation":   func() error { _, err := other.Retire(t.Context(), 2); return err },
			"adding a generation":     func() error { _, _, err := other.BuildGeneration(t.Context(), third); return err },
		} {
			b.says(run(), doing+": role "+owner+" owns the pipeline's tables and view, this is role "+name,
				`run it as role "`+owner+`"`)
		}
		if access == sink.Write { // a member has the owner's rights
			b.db.Exec(t, `GRANT "`+owner+`" TO "`+name+`"`)
			_, err := other.Activate(t.Context(), sink.Activation{ID: 2})
			b.ok(err)
			_, err = other.Activate(t.Context(), sink.Activation{ID: 1, Force: true})
			b.ok(err)
		}
	}
	// A view that was given away.
	viewer, _ := b.db.Role(t, "")
	b.db.Exec(t, `CREATE ROLE "`+viewer+`_deputy" LOGIN PASSWORD 'deputy' IN ROLE "`+owner+`"`)
	t.Cleanup(func() { b.db.Exec(t, `DROP OWNED BY "`+viewer+`_deputy"; DROP ROLE "`+viewer+`_deputy"`) })
	b.db.Exec(t, "ALTER VIEW "+viewName+" OWNER TO "+viewer)
	_, err := b.as(viewer+"_deputy", "deputy").Activate(t.Context(), sink.Activation{ID: 2})
	b.wantKind(err, fault.Usage)
	if err == nil || !strings.Contains(err.Error(), "role "+viewer+" owns") {
		t.Errorf("got %v", err)
	}
}

// TestRetiringTakesItsLocksInTheOrderOfReaders: a report holds the ledger when it comes to the
// vectors.
func TestRetiringTakesItsLocksInTheOrderOfReaders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"))
	b.build(brands())
	tx, err := b.db.Conn(t).Begin(t.Context())
	b.ok(err)
	_, err = tx.Exec(t.Context(), "SELECT count(*) FROM wal2vec.ledger_product")
	b.ok(err)
	done := make(chan error, 1)
	go func() {
		_, err := b.sink.Retire(t.Context(), 2)
		done <- err
	}()
	b.waiters()
	_, err = tx.Exec(t.Context(), "SELECT count(*) FROM wal2vec.vectors_product_2")
	b.ok(err)
	b.ok(tx.Commit(t.Context()))
	b.ok(<-done)
}

// TestALookForStaleTextsDoesNotHoldUpARetirement that waits for a report: it must not hold the
// vectors when it comes to wait for the ledger.
func TestALookForStaleTextsDoesNotHoldUpARetirement(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{false, true} {
		b := setup(t)
		b.build(brands())
		// The one that a look comes to first is retired.
		_, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2, Force: true})
		b.ok(err)
		stream := b.takeover()
		changes := []change.Change{texts(1, 0x1101, "one", "a brand")}
		if known { // the server keeps the statement's plan
			for range 8 {
				_, err := stream.Stale(t.Context(), changes)
				b.ok(err)
			}
		}
		tx, err := b.db.Conn(t).Begin(t.Context())
		b.ok(err)
		_, err = tx.Exec(t.Context(), "SELECT count(*) FROM wal2vec.ledger_product")
		b.ok(err)
		retired, looked := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := b.sink.Retire(t.Context(), 1)
			retired <- err
		}()
		b.waiters()
		go func() {
			_, err := stream.Stale(t.Context(), changes)
			looked <- err
		}()
		pgtest.Eventually(t, 10*time.Second, func() (bool, string) {
			n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
			return n == 2, fmt.Sprintf("%d sessions wait", n)
		})
		b.ok(tx.Commit(t.Context()))
		b.ok(<-retired)
		if err := <-looked; !errors.Is(err, protocol.ErrGenerations) {
			t.Errorf("the look: %v", err)
		}
	}
}

func TestADeadlockOfAnActivationIsToBeTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one := upsert(1, 0x1101, "one")
	b.commit(b.takeover(), 0x1200, one)
	b.filled(b.build(second()), one)
	b.db.Exec(t, "CREATE FUNCTION entangle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$")
	b.db.Exec(t, "CREATE TRIGGER entangle BEFORE UPDATE ON wal2vec.generation FOR EACH ROW EXECUTE FUNCTION entangle(); "+pgtest.ServersOwn("wal2vec.generation"))
	b.sink.SetPatience(time.Minute, time.Millisecond, 2)
	_, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2})
	b.entangled(err)
	_, err = b.sink.Retire(t.Context(), 2)
	b.entangled(err)
	b.db.Exec(t, "DROP TRIGGER entangle ON wal2vec.generation")
	_, err = b.sink.Activate(t.Context(), sink.Activation{ID: 2})
	b.ok(err)
}

func (b *bench) entangled(err error) {
	b.tb.Helper()
	b.wantKind(err, fault.Unavailable)
	if err == nil || !strings.Contains(err.Error(), "waited for each other; nothing was changed") || fault.Try(err) != "try again" {
		b.tb.Errorf("got %v, try %q", err, fault.Try(err))
	}
}
