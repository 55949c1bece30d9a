package chaos

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// plan is what a seed decides of a run.
type plan struct {
	seed      uint64
	length    time.Duration
	databases string
	keys      int // that the writers choose from
	pause     int // ms between two transactions of a writer, on average
	writers   int
	streams   int
	backfills int
	env       []string // of every process
	// gaps says whether the slot is lost now and then, resync whether the stream repairs that by
	// itself.
	gaps, resync bool
	// catalogue asks for faults of the source's catalogue: a table that is not published for a
	// while, is swapped, altered, and the like.
	catalogue bool
	// schema says that the publication is one of the table's schema.
	schema bool
	// small asks for a sink on a small disk.
	small bool
}

func newPlan(seed uint64, length time.Duration) plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := plan{
		seed: seed, length: length, databases: "two", keys: 60 + r.IntN(100), pause: 100 + r.IntN(120), writers: 4 + r.IntN(3), streams: 2, backfills: 2,
	}
	if r.IntN(3) == 0 {
		p.databases = "one"
	}
	p.env = []string{
		fmt.Sprintf("WAL2VEC_STREAM_MAX_ROWS=%d", 8+r.IntN(60)),
		fmt.Sprintf("WAL2VEC_STREAM_IDLE_INTERVAL=%dms", 200+r.IntN(2000)),
		fmt.Sprintf("WAL2VEC_BACKFILL_CHUNK_KEYS=%d", 3+r.IntN(40)),
		fmt.Sprintf("WAL2VEC_BACKFILL_IN_FLIGHT=%d", 1+r.IntN(4)),
	}
	p.gaps, p.resync = r.IntN(3) > 0, r.IntN(2) == 0
	if p.resync {
		p.env = append(p.env, "WAL2VEC_STREAM_ON_GAP=resync")
	}
	p.catalogue, p.schema = r.IntN(4) > 0, r.IntN(3) == 0
	return p
}

// world is the servers, what stands between them and the program, and the program's processes.
type world struct {
	t          *testing.T
	plan       plan
	report     *Report
	binary     string
	dir        string
	env        []string
	vocabulary vocabulary

	disk                   string // the sink's small disk; empty where there is none
	source, sink           *pgtest.DB
	sourceProxy, sinkProxy *pgtest.Proxy
	procs                  crowd
	// models are the names that the substitute of the encoder has for models, by theirs; other is
	// the folder of the one that is not configured.
	models map[string]string
	other  string
	gap    gap
	// role and its password are the program's own, for settings that are the program's alone.
	role, password string
	windows        windows
	swaps          int
}

// Settings of the servers: a walsender whose client is silent is soon given up, the log is kept for
// the oracle, and an asynchronous commit stays in memory for a while, where a kill loses it.
var settings = []string{
	"wal_sender_timeout = 2s", "wal_keep_size = 16GB", "max_wal_size = 1GB", "max_connections = 100", "deadlock_timeout = 200ms",
	"wal_writer_delay = 1s", "log_min_messages = panic",
}

func newWorld(t *testing.T, p plan) *world {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	parts, err := pgtest.Parts()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, plan: p, binary: path, dir: t.TempDir()}
	w.report = &Report{Seed: p.seed, Minutes: p.length.Minutes(), Major: pgtest.Major(), Databases: p.databases}
	if err := w.makeModel(parts); err != nil {
		t.Fatal(err)
	}
	w.vocabulary = newVocabulary(w.random("vocabulary"))
	host := pgtest.Server(t, settings...)
	w.source = host.Database(t)
	w.sink = w.source
	if p.databases == "two" {
		w.sink = w.sinkHost().Database(t)
	}
	w.makeRole()
	w.sourceProxy, w.sinkProxy = pgtest.NewProxy(t, w.source.Host), pgtest.NewProxy(t, w.sink.Host)
	w.env = append(os.Environ(), append([]string{
		"WAL2VEC_HOME=" + parts, "WAL2VEC_HTTP_LISTEN=off", "WAL2VEC_PIPELINE=" + w.pipeline(), "WAL2VEC_STREAM_RETRY_MAX=500ms",
		"WAL2VEC_SOURCE_SLOT_WAIT=5s", "WAL2VEC_STREAM_DRAIN_TIMEOUT=5s", "WAL2VEC_BACKFILL_WAIT_TIMEOUT=20s", "WAL2VEC_LOG_FORMAT=json",
		"FAILPOINT_ENCODER=hash", "FAILPOINT_ENCODER_DOWN=" + w.encoderDown(), "FAILPOINT_CLOCK=" + w.clock(), "GOMAXPROCS=2",
		"WAL2VEC_ENCODER_MODEL_FOLDERS=" + w.dir,
	}, p.env...)...)
	return w
}

// sinkHost starts the sink's server, on a small disk if this machine lets us have one.
func (w *world) sinkHost() *pgtest.Host {
	if w.plan.small {
		disk, err := mountSmall(w.t)
		if err == nil {
			w.disk = disk
			return pgtest.ServerIn(w.t, disk, append(slices.Clip(settings), "wal_keep_size = 0", "max_wal_size = 64MB")...)
		}
		w.report.Skip(fmt.Sprintf("a full disk of the sink: %v", err))
	}
	return pgtest.Server(w.t, settings...)
}

func (w *world) pipeline() string    { return "chaos" }
func (w *world) slot() string        { return "wal2vec_" + w.pipeline() }
func (w *world) clock() string       { return filepath.Join(w.dir, "clock") }
func (w *world) encoderDown() string { return filepath.Join(w.dir, "encoder.down") }

// trace appends a line with its time to a file of the folder CHAOS_LOGS, if there is one: for those
// who look for the cause of a failure.
func (w *world) trace(name, line string) {
	folder := os.Getenv("CHAOS_LOGS")
	if folder == "" {
		return
	}
	file, err := os.OpenFile(filepath.Join(folder, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer file.Close()
	fmt.Fprintf(file, "%s %s\n", time.Now().Format("15:04:05.000"), line)
}

// random returns the numbers of one actor: what it draws does not depend on what others do.
func (w *world) random(actor string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(actor)) // never fails
	return rand.New(rand.NewPCG(w.plan.seed, h.Sum64()))
}

// play is one run from an empty table to the last comparison.
func (w *world) play() (*Report, error) {
	ctx := w.t.Context()
	w.source.CreateProducts(w.t)
	o, err := newOracle(ctx, w.source, &w.windows)
	if err != nil {
		return nil, err
	}
	defer o.close(context.WithoutCancel(ctx))
	first := &drawn{}
	(&writer{w: w, r: w.random("first"), keys: w.plan.keys}).many(first, w.plan.keys)
	for _, s := range first.statements {
		w.source.Exec(w.t, s.text, s.args...)
	}
	if w.plan.schema {
		w.source.Exec(w.t, "CREATE PUBLICATION wal2vec_chaos FOR TABLES IN SCHEMA staging_marts")
	}
	if err := w.run(ctx, "init"); err != nil {
		return nil, err
	}
	w.sink.Exec(w.t, noteSetup+pgtest.ServersOwn("wal2vec.pipeline"))
	c := w.newChecker(o)
	defer c.disconnect(context.WithoutCancel(ctx))
	if err := c.look(ctx); err != nil { // the epoch's beginning
		return nil, err
	}
	err = w.storm(ctx, c)
	if err == nil {
		err = w.calm(c)
	}
	report := w.report.Closed(&o.history)
	if err == nil && (report.Watermarks < 3 || report.Transactions < 30 || len(report.Faults) == 0) {
		err = errors.New("the run has seen too little to prove anything")
	}
	if report.Result = "ok"; err != nil {
		report.Result = "failed"
	}
	return report, err
}

// storm lets everybody loose, for the time of the plan or until something is wrong. Faults are made
// on the test's goroutine, because the servers belong to it.
func (w *world) storm(ctx context.Context, c *checker) error {
	group, running := errgroup.WithContext(ctx)
	running, stop := context.WithCancel(running)
	defer stop()
	for i := range w.plan.writers {
		group.Go(func() error { return w.write(running, i) })
	}
	for i := range w.plan.streams {
		group.Go(func() error { return w.supervise(running, streamRole, i) })
	}
	for i := range w.plan.backfills {
		group.Go(func() error { return w.supervise(running, backfillRole, i) })
	}
	group.Go(func() error { return w.supervise(running, w.generationRole(), 0) })
	group.Go(func() error { return c.run(running) })
	group.Go(func() error { return w.operate(running) })
	w.makeTrouble(running)
	stop()
	return group.Wait()
}

// calm lets the pipeline catch up without faults, and compares it with the source's rows.
func (w *world) calm(c *checker) error {
	const patience = 2 * time.Minute
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.source.Host.Revive(w.t)
	w.sink.Host.Revive(w.t)
	if w.gap.open.Load() && !w.plan.resync {
		if err := w.run(ctx, "init", "--resync"); err != nil {
			return err
		}
	}
	if err := w.run(ctx, "stream", "--until-current"); err != nil {
		return err
	}
	if w.plan.catalogue { // no backfill is needed for what was not published
		refreshed, err := c.refreshed(ctx)
		if err != nil {
			return err
		}
		if refreshed {
			w.report.Saw("comparisons without a backfill")
			if err := c.compare(); err != nil {
				return fmt.Errorf("before the last backfill: %w", err)
			}
		}
	}
	for _, args := range [][]string{{"backfill"}, {"stream", "--until-current"}} {
		if err := w.run(ctx, args...); err != nil {
			return err
		}
	}
	c.disconnect(ctx)
	if err := c.settle(ctx); err != nil {
		return err
	}
	return errors.Join(c.compare(), w.compareGenerations())
}

// refreshed settles, and reports whether a backfill of the epoch has ended and nothing is ahead of
// the watermark.
func (c *checker) refreshed(ctx context.Context) (bool, error) {
	c.disconnect(ctx)
	if err := c.settle(ctx); err != nil {
		return false, err
	}
	return c.last.Swept && c.last.Partial <= c.last.Watermark, nil
}

// settle takes a last look and judges all that are queued.
func (c *checker) settle(ctx context.Context) error {
	if err := c.look(ctx); err != nil {
		return err
	}
	var last error // why the source could not be asked, before time ran out
	for {
		err := c.judge(ctx)
		switch {
		case err == nil && len(c.queue) == 0:
			return nil
		case err != nil && !errors.Is(err, errLater):
			return err
		case ctx.Err() == nil:
			last = err
		}
		if !wait(ctx, lookInterval) {
			return fmt.Errorf("the source's log does not reach the watermark %s: %w", c.last.Watermark, last)
		}
	}
}

// compare compares the last look with a plain SELECT of the source: exactly, with no exception.
func (c *checker) compare() error {
	template := c.oracle.template
	rows := pgtest.Column[[]*string](c.w.t, c.w.source,
		"SELECT ARRAY[product_id::text, name, brand, category, description] FROM staging_marts.dim_product WHERE NOT deleted")
	live := 0
	for _, columns := range rows {
		text := render(template, columns[1:])
		if text == "" {
			continue
		}
		live++
		var key int64
		if _, err := fmt.Sscan(*columns[0], &key); err != nil {
			return err
		}
		if got, want := c.last.Rows[key].State, (State{Live: true, Hash: change.HashText(text)}); got != want {
			return fmt.Errorf("key %d at the end: the sink has %s, the source %s", key, got, want)
		}
	}
	for _, r := range c.last.Rows {
		if r.State.Live {
			live--
		}
	}
	switch {
	case live != 0:
		return fmt.Errorf("at the end the source has %d live rows more than the sink", live)
	case !c.last.Swept:
		return errors.New("the last backfill has not swept")
	case c.last.Partial > c.last.Watermark:
		return fmt.Errorf("at the end the sink is partial until %s", c.last.Partial)
	}
	return nil
}
