package demo

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/demodata"
	"github.com/wal2vec/wal2vec/internal/mart"
	"github.com/wal2vec/wal2vec/internal/pgname"
)

func (d *demo) start(ctx context.Context, encoder config.Encoder) (err error) {
	d.stepf("Start a throw-away PostgreSQL %d with pgvector, and load the model", Version)
	begun := time.Now()
	// What a source needs, and what wal2vec advises for one.
	settings := map[string]string{"wal_level": "logical", "max_slot_wal_keep_size": "2GB"}
	if d.mart, err = mart.Open(ctx, mart.Options{Major: Version, Settings: settings, Encoder: encoder}); err != nil {
		return err
	}
	d.notef("PostgreSQL %s, pgvector %s, port %d", d.mart.Postgres, d.mart.Pgvector, d.mart.Server.Port())
	if d.engine, err = d.inner.Opener(d.mart.Config).Open(ctx, d.mart.Config); err != nil {
		return err
	}
	d.inner.Share(d.engine)
	d.notef("%s on %s, %d dimensions (%.1f s)", d.engine.Checkpoint.Name(), d.engine.Stats().Device, d.engine.Dimension(), time.Since(begun).Seconds())
	return nil
}

func (d *demo) fill(ctx context.Context) error {
	d.stepf("Fill %s with made-up products", d.mart.Config.Source.Table)
	n, err := d.mart.Fill(ctx, mart.MadeUp(d.options.Rows))
	if err != nil {
		return err
	}
	d.notef("%s products; number 1 is:", grouped(n))
	d.notef("%s", demodata.At(mart.Seed, 1).Text())
	return nil
}

func (d *demo) init(ctx context.Context) error {
	d.stepf("Set the pipeline up: schema, view, publication, replication slot")
	d.typedf("wal2vec init")
	return d.inner.Init(ctx, d.mart.Config)
}

func (d *demo) backfill(ctx context.Context) error {
	d.stepf("Encode what is there")
	d.typedf("wal2vec backfill")
	begun, encoded := time.Now(), d.engine.Stats().Encoded
	if err := d.inner.Backfill(ctx, d.mart.Config); err != nil {
		return err
	}
	d.filled, d.embedded = time.Since(begun), int64(d.engine.Stats().Encoded-encoded)
	return nil
}

func (d *demo) follow(ctx context.Context) (err error) {
	d.stepf("Follow the table")
	d.typedf("wal2vec stream &")
	if d.stream, err = mart.StartStream(ctx, d.inner.Follow(d.mart.Config), d.abort); err != nil {
		return err
	}
	if err := d.stream.Ready(ctx); err != nil {
		return err
	}
	d.notef("streaming from slot %s, beginning at %s", d.mart.Config.Source.Slot, d.stream.Follower.Watermark())
	return nil
}

// write runs the writer and the watcher side by side.
func (d *demo) write(ctx context.Context) error {
	d.stepf("Change rows, and ask the view on another connection when each change is searchable")
	d.notef("%s single-row transactions, %d a second ...", grouped(d.options.Edits), Rate)
	run, err := d.mart.OpenWork(ctx, mart.Mixed, mart.WorkSize{Rows: int64(d.options.Rows), Except: d.changedRow()})
	if err != nil {
		return err
	}
	defer run.Close(ctx)
	took, err := run.Work(ctx, d.options.Edits, Rate)
	if err != nil {
		return err
	}
	d.freshness = run.Watch.Freshness()
	var parts []string
	for _, what := range mart.Deeds {
		parts = append(parts, fmt.Sprintf("%d %s", run.Clerk.Done[what], what))
	}
	d.notef("%s, in %.1f s", strings.Join(parts, ", "), took.Seconds())
	d.notef("COMMIT to searchable: p50 %s, p99 %s, slowest %s (%d changes measured)",
		readableMillis(d.freshness.P50), readableMillis(d.freshness.P99), readableMillis(d.freshness.Max), d.freshness.Changes)
	return nil
}

func readableMillis(ms float64) string { return strconv.FormatFloat(ms, 'f', 1, 64) + " ms" }

// stay streams until Ctrl-C, with the HTTP listener of a real stream, and says what can be tried in
// the meantime.
func (d *demo) stay(ctx context.Context) error {
	c := d.mart.Config
	c.HTTP.Listen = freeAddress(ctx)
	d.stepf("Your turn: it streams on until Ctrl-C. In another terminal:")
	program := pgname.Shell(os.Args[0])
	if !strings.ContainsRune(program, filepath.Separator) {
		program = "wal2vec"
	}
	d.sayf("")
	if err := d.sayConnection(); err != nil {
		return err
	}
	d.notef("%s search 'warm coat for freezing winter weather' -k 5", program)
	d.notef("%s status", program)
	d.notef("%s config print --row 1", program)
	d.notef("curl %s\n", pgname.Shell("http://"+c.HTTP.Listen+"/metrics"))
	if d.err != nil {
		return d.err
	}
	return d.inner.Stream(ctx, c)
}

// sayConnection says how psql and wal2vec find the database. The password goes into the
// environment, which only the user can read, as every account of the machine can the arguments of a
// program.
func (d *demo) sayConnection() error {
	dsn := d.mart.Config.Source.DSN.Reveal()
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return fmt.Errorf("reading the connection string of the throw-away database: %w", err)
	}
	d.notef("export WAL2VEC_SOURCE_DSN=%s", pgname.Shell(dsn))
	d.notef("unset PGSERVICE PGHOSTADDR") // psql would believe them rather than these:
	d.notef("export PGHOST=%s PGPORT=%d PGUSER=%s PGPASSWORD=%s PGDATABASE=%s",
		pgname.Shell(c.Host), c.Port, pgname.Shell(c.User), pgname.Shell(c.Password), pgname.Shell(c.Database))
	d.notef("%s", pgname.Shell(d.mart.Server.Program("psql")))
	return nil
}

// freeAddress is where the README says that metrics are, or another port when that one is taken.
func freeAddress(ctx context.Context) string {
	var listen net.ListenConfig
	for _, address := range []string{config.Default().HTTP.Listen, "127.0.0.1:0"} {
		if listener, err := listen.Listen(ctx, "tcp", address); err == nil {
			listener.Close()
			return listener.Addr().String()
		}
	}
	return ""
}
