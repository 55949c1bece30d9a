package doctor_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/doctor"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/follow"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/setup"
	"github.com/wal2vec/wal2vec/internal/test/enginetest"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/sink"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// healthySettings are those of a server that the doctor has nothing to say about.
func healthySettings(more ...string) []string {
	return append([]string{
		"fsync=on", "full_page_writes=on", "synchronous_commit=off", "max_slot_wal_keep_size=1GB", "wal_sender_timeout=60s",
		"max_prepared_transactions=5", "max_replication_slots=100", "max_wal_senders=100", "autovacuum=off",
	}, more...)
}

// rig is a pipeline of three rows on a server, with a reader of its slot.
type rig struct {
	t       *testing.T
	db      *pgtest.DB
	sink    *connect.Store
	options doctor.Options
	model   *fakeModel
	stop    func() // ends the reader
}

// bare makes a table and settings for it, without a pipeline.
func bare(t *testing.T, host *pgtest.Host) *rig {
	t.Helper()
	db := host.Database(t)
	db.CreateProducts(t)
	db.FillProducts(t, 3)
	return settingsFor(t, db, db.DSN)
}

func settingsFor(t *testing.T, db *pgtest.DB, dsn string) *rig {
	t.Helper()
	r := &rig{t: t, db: db, stop: func() {}, model: &fakeModel{}}
	c, err := config.Load(config.Sources{Flags: []config.Flag{
		{Name: "--source", Path: "source.dsn", Value: dsn}, {Name: "--pipeline", Path: "pipeline", Value: db.Name},
	}})
	r.ok(err)
	r.options = doctor.Options{
		Config: c, Model: r.model, Limits: doctor.DefaultLimits(),
	}
	return r
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%v (try: %s)", err, fault.Try(err))
	}
}

// healthy is a bare rig with a pipeline that has every row, and streams.
func healthy(t *testing.T, host *pgtest.Host) *rig {
	t.Helper()
	r := bare(t, host)
	r.setUp()
	r.fill()
	r.read()
	return r
}

// setUp makes the pipeline, as wal2vec init does.
func (r *rig) setUp() {
	r.t.Helper()
	ctx, c := r.t.Context(), r.options.Config
	made, err := setup.Prepare(ctx, c, zerolog.Nop(), setup.Options{Opener: enginetest.Opener(r.t)})
	r.ok(err)
	defer made.Close(ctx)
	_, err = made.Make(ctx)
	r.ok(err)
	r.sink = connect.NewStore(r.db.Pool(r.t), c, zerolog.Nop())
}

// fill runs a stream and a backfill beside it, until every row has its vector.
func (r *rig) fill() {
	r.t.Helper()
	ctx, c := r.t.Context(), r.options.Config
	c.Stream.IdleInterval = 10 * time.Millisecond // the backfill waits for the watermark
	f, err := follow.Open(ctx, follow.Options{Config: c, Log: zerolog.Nop(), Opener: enginetest.Opener(r.t)})
	r.ok(err)
	defer f.Close(ctx)
	streaming, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := f.NewStream(false).Run(streaming)
		ended <- err
	}()
	b, err := backfill.Open(ctx, enginetest.Opener(r.t), c, zerolog.Nop())
	if err == nil {
		err = b.Backfill(ctx, backfill.Options{}, backfill.Quiet{})
		b.Close(ctx)
	}
	stop()
	r.ok(errors.Join(err, <-ended))
}

// read keeps the slot active until the test ends. It writes nothing: a stream would repair in a
// moment what a test spoils.
func (r *rig) read() {
	r.t.Helper()
	c := r.options.Config.Source
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	state, err := r.sink.State(ctx)
	r.ok(err)
	table, err := connect.InspectFollowed(ctx, r.options.Config, state)
	r.ok(err)
	source := replication.NewSource(replication.Options{
		ConnString: c.DSN.Reveal(), Slot: c.Slot, Publication: c.Publication, Table: table, Logger: zerolog.Nop(),
	})
	stream, err := source.Connect(ctx, change.Place{Watermark: state.Watermark})
	r.ok(err)
	out, done := make(chan change.Fragment, 100), make(chan error, 1)
	go func() {
		err := stream.Run(ctx, out)
		close(out)
		done <- err
	}()
	go func() {
		for fragment := range out {
			_ = fragment // no process writes it
		}
	}()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		<-done
		pgtest.Eventually(r.t, 30*time.Second, func() (bool, string) {
			active := pgtest.One[bool](r.t, r.db, "SELECT coalesce(bool_or(active), false) FROM pg_replication_slots WHERE slot_name = $1", c.Slot)
			return !active, "the slot is active"
		})
	}
	r.t.Cleanup(r.stop)
}

func (r *rig) examine() doctor.Report {
	r.t.Helper()
	return doctor.Examine(r.t.Context(), r.options)
}

func found(report doctor.Report, check string) []doctor.Finding {
	var out []doctor.Finding
	for _, f := range report.Findings {
		if f.Check == check {
			out = append(out, f)
		}
	}
	return out
}

// want makes sure that a check has a finding of this status, and returns it.
func (r *rig) want(check string, status doctor.Status) doctor.Finding {
	r.t.Helper()
	saw.note(check, status)
	report := r.examine()
	for _, f := range found(report, check) {
		if f.Status == status {
			if strings.Contains(f.Text+f.Fix, "%!") || strings.TrimSpace(f.Text) == "" {
				r.t.Errorf("%s: a text that was put together wrongly: %q, fix %q", check, f.Text, f.Fix)
			}
			if pgname.Visible(f.Fix) != f.Fix {
				r.t.Errorf("%s: the fix is not one visible line: %q", check, f.Fix)
			}
			return f
		}
	}
	r.t.Fatalf("%s is not %s: %+v", check, status, found(report, check))
	return doctor.Finding{}
}

// paste runs the fix of a finding by psql, which must do nothing besides.
func (r *rig) paste(f doctor.Finding) {
	r.t.Helper()
	if f.FixIn != doctor.Source && f.FixIn != doctor.Sink {
		r.t.Fatalf("%s: the fix %q is no SQL", f.Check, f.Fix)
	}
	psql := r.db.Command(r.t, "psql", "-X", "-v", "ON_ERROR_STOP=1")
	psql.Dir, psql.Stdin = r.t.TempDir(), strings.NewReader(f.Fix+"\n")
	if out, err := psql.CombinedOutput(); err != nil {
		r.t.Fatalf("%s: running %q: %v\n%s", f.Check, f.Fix, err, out)
	}
	if left, err := os.ReadDir(psql.Dir); err != nil || len(left) > 0 {
		r.t.Errorf("%s: running %q made %v, %v", f.Check, f.Fix, left, err)
	}
}

// repair runs the fix of a finding, and sees that the check is well afterwards.
func (r *rig) repair(f doctor.Finding, then ...func()) {
	r.t.Helper()
	r.paste(f)
	for _, do := range then {
		do()
	}
	pgtest.Eventually(r.t, 20*time.Second, func() (bool, string) {
		left := found(r.examine(), f.Check)
		well := !slices.ContainsFunc(left, func(f doctor.Finding) bool { return f.Status != doctor.OK })
		return well, f.Check + " is not repaired by " + f.Fix
	})
}

// fakeModel is a model that is well but for the errors that it is given.
type fakeModel struct{ open, match, test, slower error }

func (m *fakeModel) Open(context.Context) error { return m.open }
func (m *fakeModel) Match(sink.State) error     { return m.match }
func (m *fakeModel) Test(context.Context) (doctor.Engine, error) {
	if m.test != nil {
		return doctor.Engine{}, m.test
	}
	return doctor.Engine{Model: "fake", Device: "cpu", Precision: "fp32", Kernel: "standard", Slower: m.slower}, nil
}
