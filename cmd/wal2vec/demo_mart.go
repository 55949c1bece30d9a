package main

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
	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sql"
)

// mart is a throw-away PostgreSQL with a database that holds an empty product table, for demo and bench.
type mart struct {
	server *pgserver.Server
	// config describes the pipeline from the table into the same database; everything but the encoder has its default.
	config   config.Config
	conn     *pgx.Conn // for what a user would do with psql
	postgres string    // "18.4"
	pgvector string    // "0.8.5"
}

type martOptions struct {
	major    int
	settings map[string]string
	encoder  config.Encoder
}

const (
	martDatabase = "shop"
	// martStopLimit bounds the end of the server; pgserver kills what takes longer.
	martStopLimit = 20 * time.Second
	// martSeed makes the same products on every machine.
	martSeed = 1
)

var (
	martTable   = pgx.Identifier{"staging_marts", "dim_product"}
	martColumns = []string{"product_id", "name", "brand", "category", "description", "price"}
)

// openMart starts the server in a folder for temporary files; Close removes both.
func openMart(ctx context.Context, o martOptions) (m *mart, err error) {
	parts, err := connect.FindParts()
	if err != nil {
		return nil, err
	}
	bundle := parts.Postgres[o.major]
	if bundle == "" {
		return nil, fault.New(fault.Usage, "make parts, in the source folder", "%s holds no PostgreSQL %d", parts.Root, o.major)
	}
	m = &mart{}
	opened := m // a return of an error sets the result to nil before the deferred call
	defer func() {
		if err != nil {
			_ = opened.Close(ctx)
		}
	}()
	if m.server, err = pgserver.Start(ctx, pgserver.Options{Bundle: bundle, Settings: o.settings}); err != nil {
		return nil, err
	}
	if err := m.createDatabase(ctx); err != nil {
		return nil, err
	}
	m.config = config.Default()
	m.config.Encoder = o.encoder
	m.config.Source.DSN = config.DSN(m.server.DSN(martDatabase))
	if account := pgserver.Account(); account != "" { // which the program does not believe as it is
		m.config.Source.DSN += config.DSN("&requirepeer=" + account)
	}
	m.config.HTTP.Listen = ""
	// init and backfill speak for themselves; what is worth a line beside them is a warning.
	m.config.Log = config.Log{Level: "warn", Format: "auto"}
	if m.conn, err = m.connect(ctx); err != nil {
		return nil, err
	}
	if _, err := m.conn.Exec(ctx, sql.Query("demo_mart")); err != nil {
		return nil, fmt.Errorf("creating the product table: %w", err)
	}
	m.postgres = m.conn.PgConn().ParameterStatus("server_version")
	err = m.conn.QueryRow(ctx, "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'").Scan(&m.pgvector)
	if err != nil {
		return nil, fmt.Errorf("looking for pgvector: %w", err)
	}
	return m, nil
}

func (m *mart) createDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, m.server.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("connecting to the throw-away server: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+martDatabase); err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	return nil
}

// connect opens one more session.
func (m *mart) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, m.server.DSN(martDatabase))
	if err != nil {
		return nil, fmt.Errorf("connecting to the throw-away database: %w", err)
	}
	return conn, nil
}

// Close stops the server and removes its folder, also when ctx has ended.
func (m *mart) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), martStopLimit)
	defer cancel()
	if m.conn != nil {
		_ = m.conn.Close(ctx)
	}
	if m.server == nil {
		return nil
	}
	return m.server.Stop(ctx)
}

// fill copies products into the empty table and returns their number.
func (m *mart) fill(ctx context.Context, rows iter.Seq2[demodata.Product, error]) (int64, error) {
	n, err := m.copy(ctx, rows)
	if err != nil {
		return n, err
	}
	if err := statement.Run(ctx, m.conn, "ANALYZE "+martTable.Sanitize()); err != nil {
		return n, fmt.Errorf("analysing the product table: %w", err)
	}
	return n, nil
}

// copy copies products into the table in one transaction.
func (m *mart) copy(ctx context.Context, rows iter.Seq2[demodata.Product, error]) (int64, error) {
	next, stop := iter.Pull2(rows)
	defer stop()
	n, err := m.conn.CopyFrom(ctx, martTable, martColumns, pgx.CopyFromFunc(func() ([]any, error) {
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

// madeUp yields the generated products 1 to n.
func madeUp(n int) iter.Seq2[demodata.Product, error] {
	return func(yield func(demodata.Product, error) bool) {
		for p := range demodata.Generate(martSeed, n) {
			if !yield(p, nil) {
				return
			}
		}
	}
}
