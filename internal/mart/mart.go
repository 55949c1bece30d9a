package mart

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/demodata"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sql"
)

// Mart is a throw-away PostgreSQL with a database that holds an empty product table, for demo and
// bench.
type Mart struct {
	Server *pgserver.Server
	// Config describes the pipeline from the table into the same database; everything but the
	// encoder has its default.
	Config   config.Config
	Conn     *pgx.Conn // for what a user would do with psql
	Postgres string    // "18.4"
	Pgvector string    // "0.8.5"
}

// Options say which server is started, and how.
type Options struct {
	Major    int
	Settings map[string]string
	Encoder  config.Encoder
}

const (
	// Database is the name of the database.
	Database = "shop"
	// stopLimit bounds the end of the server; pgserver kills what takes longer.
	stopLimit = 20 * time.Second
	// Seed makes the same products on every machine.
	Seed = 1
)

var (
	martTable   = pgx.Identifier{"staging_marts", "dim_product"}
	martColumns = []string{"product_id", "name", "brand", "category", "description", "price"}
)

// Open starts the server in a folder for temporary files; Close removes both.
func Open(ctx context.Context, o Options) (m *Mart, err error) {
	parts, err := connect.FindParts()
	if err != nil {
		return nil, err
	}
	bundle := parts.Postgres[o.Major]
	if bundle == "" {
		return nil, fault.New(fault.Usage, "make parts, in the source folder", "%s holds no PostgreSQL %d", parts.Root, o.Major)
	}
	m = &Mart{}
	opened := m // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			_ = opened.Close(ctx)
		}
	}()
	if m.Server, err = pgserver.Start(ctx, pgserver.Options{Bundle: bundle, Settings: o.Settings}); err != nil {
		return nil, err
	}
	if err := m.createDatabase(ctx); err != nil {
		return nil, err
	}
	m.Config = config.Default()
	m.Config.Encoder = o.Encoder
	m.Config.Source.DSN = config.DSN(m.Server.DSN(Database))
	if account := pgserver.Account(); account != "" { // which the program does not believe as it is
		m.Config.Source.DSN += config.DSN("&requirepeer=" + account)
	}
	m.Config.HTTP.Listen = ""
	// init and backfill speak for themselves; what is worth a line beside them is a warning.
	m.Config.Log = config.Log{Level: "warn", Format: "auto"}
	if m.Conn, err = m.connect(ctx); err != nil {
		return nil, err
	}
	if _, err := m.Conn.Exec(ctx, sql.Query("demo_mart")); err != nil {
		return nil, fmt.Errorf("creating the product table: %w", err)
	}
	m.Postgres = m.Conn.PgConn().ParameterStatus("server_version")
	err = m.Conn.QueryRow(ctx, "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'").Scan(&m.Pgvector)
	if err != nil {
		return nil, fmt.Errorf("looking for pgvector: %w", err)
	}
	return m, nil
}

func (m *Mart) createDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, m.Server.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("connecting to the throw-away server: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+Database); err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	return nil
}

// connect opens one more session.
func (m *Mart) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, m.Server.DSN(Database))
	if err != nil {
		return nil, fmt.Errorf("connecting to the throw-away database: %w", err)
	}
	return conn, nil
}

// Close stops the server and removes its folder, also when ctx has ended.
func (m *Mart) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if m.Conn != nil {
		_ = m.Conn.Close(ctx)
	}
	if m.Server == nil {
		return nil
	}
	return m.Server.Stop(ctx)
}

// Fill copies products into the empty table and returns their number.
func (m *Mart) Fill(ctx context.Context, rows iter.Seq2[demodata.Product, error]) (int64, error) {
	n, err := m.Copy(ctx, rows)
	if err != nil {
		return n, err
	}
	if err := statement.Run(ctx, m.Conn, "ANALYZE "+pgname.Catalogue(martTable...)); err != nil {
		return n, fmt.Errorf("analysing the product table: %w", err)
	}
	return n, nil
}

// Copy copies products into the table in one transaction.
func (m *Mart) Copy(ctx context.Context, rows iter.Seq2[demodata.Product, error]) (int64, error) {
	next, stop := iter.Pull2(rows)
	defer stop()
	n, err := m.Conn.CopyFrom(ctx, martTable, martColumns, pgx.CopyFromFunc(func() ([]any, error) {
		p, err, more := next()
		if err != nil || !more {
			return nil, err
		}
		var price pgtype.Numeric
		if err := price.Scan(p.Price()); err != nil {
			return nil, fmt.Errorf("reading a price: %w", err)
		}
		return []any{p.ID, p.Name, p.Brand, p.Category, p.Description, price}, nil
	}))
	if err != nil {
		return n, fmt.Errorf("filling the product table: %w", err)
	}
	return n, nil
}

// MadeUp yields the generated products 1 to n.
func MadeUp(n int) iter.Seq2[demodata.Product, error] {
	return func(yield func(demodata.Product, error) bool) {
		for p := range demodata.Generate(Seed, n) {
			if !yield(p, nil) {
				return
			}
		}
	}
}
