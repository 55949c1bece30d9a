package demo

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgvector/pgvector-go"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/replication/rows"
)

const (
	// sampled is how many rows are encoded once more at the end, a quarter of a second.
	sampled = 32
	// sameVector is the least cosine of two vectors of one text; they differ by rounding only.
	sameVector = 0.9999
	// checkChunk is how many rows are read at once.
	checkChunk = 1000
)

// comparison is what the demo finds when it compares the sink with the source.
type comparison struct {
	rows, live     int64
	vectors        int64
	missing, stale int64 // live rows without a vector, and with that of another text
	extra          int64 // vectors without a live row
	leastCosine    float64

	samples []change.Change
}

// equal reports whether the sink equals the source.
func (c *comparison) equal() bool {
	return c.missing == 0 && c.stale == 0 && c.extra == 0 && c.leastCosine >= sameVector
}

// check stops the stream, which drains it, and compares the whole table with the vectors.
func (d *demo) check(ctx context.Context) error {
	d.stepf("Stop the stream, and compare every row with its vector")
	var err error
	if d.totals, err = d.stream.Stop(); err != nil {
		return err
	}
	c, err := d.compare(ctx)
	if err != nil {
		return err
	}
	d.compared = c
	d.notef("%s live rows, %s vectors: %d missing, %d of an older text, %d too many",
		grouped(c.live), grouped(c.vectors), c.missing, c.stale, c.extra)
	d.notef("%d of the texts encoded once more: cosine to the stored vector at least %.6f", len(c.samples), c.leastCosine)
	if !c.equal() {
		return fault.New(fault.Findings, "", "the vectors do not equal a fresh encoding of the table")
	}
	return nil
}

// compare reads both sides; nothing changes them in the meantime.
func (d *demo) compare(ctx context.Context) (*comparison, error) {
	store, err := connect.OpenStore(ctx, d.mart.Config, d.inner.Follow(d.mart.Config).Log, "check")
	if err != nil {
		return nil, err
	}
	defer store.Close()
	state, err := store.State(ctx)
	if err != nil {
		return nil, err
	}
	table, err := connect.Inspect(ctx, d.mart.Config)
	if err != nil {
		return nil, err
	}
	vectors := pgname.Catalogue(d.mart.Config.Sink.Schema, state.Generation.Table)
	stored, err := d.storedHashes(ctx, vectors)
	if err != nil {
		return nil, err
	}
	reader := connect.NewReader(d.mart.Config, table)
	defer reader.Close(context.WithoutCancel(ctx))
	c := &comparison{vectors: int64(len(stored))}
	if err := c.read(ctx, reader, table.Template, stored); err != nil {
		return nil, err
	}
	return c, d.encodeAgain(ctx, c, vectors)
}

// storedHashes returns the hash of the text that each vector was made from.
func (d *demo) storedHashes(ctx context.Context, vectors string) (map[string][]byte, error) {
	rows, err := d.mart.Conn.Query(ctx, "SELECT product_id::text, text_hash FROM "+vectors)
	if err != nil {
		return nil, fmt.Errorf("reading the vectors: %w", err)
	}
	stored := make(map[string][]byte)
	var key string
	var hash []byte
	_, err = pgx.ForEachRow(rows, []any{&key, &hash}, func() error {
		stored[key] = bytes.Clone(hash)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the vectors: %w", err)
	}
	return stored, nil
}

// read goes through the source table and takes each live row's vector off the stored ones: what is
// left over is too many.
func (c *comparison) read(ctx context.Context, reader *rows.Reader, template change.Template, stored map[string][]byte) error {
	var after change.Key
	for {
		chunk, err := reader.Chunk(ctx, after, checkChunk)
		if err != nil {
			return fmt.Errorf("reading the table: %w", err)
		}
		for _, row := range chunk.Rows {
			c.rows++
			rendered := change.RenderRow(template, row, 0)
			if rendered.Deleted {
				continue
			}
			c.live++
			key := row.Key.Parts()[0]
			hash, found := stored[key]
			delete(stored, key)
			switch {
			case !found:
				c.missing++
			case !bytes.Equal(hash, rendered.Document.Hash[:]):
				c.stale++
			case len(c.samples) < sampled:
				c.samples = append(c.samples, rendered)
			default:
				// Later rows, those that were inserted among them, replace earlier ones.
				if c.live%sampled == 0 {
					c.samples[int(c.live/sampled)%sampled] = rendered
				}
			}
		}
		if chunk.Done {
			c.extra = int64(len(stored))
			return nil
		}
		after = chunk.Last
	}
}

// encodeAgain compares the stored vectors of the samples with fresh ones.
func (d *demo) encodeAgain(ctx context.Context, c *comparison, vectors string) error {
	texts := make([]string, len(c.samples))
	for i, s := range c.samples {
		texts[i] = s.Document.Text
	}
	fresh, err := d.engine.Encode(ctx, texts)
	if err != nil {
		return fmt.Errorf("encoding once more: %w", err)
	}
	c.leastCosine = 1
	for i, s := range c.samples {
		var cosine float64
		query := "SELECT 1 - (embedding <=> $2::text::vector) FROM " + vectors + " WHERE product_id = $1::text::bigint"
		if err := d.mart.Conn.QueryRow(ctx, query, s.Key.Parts()[0], pgvector.NewVector(fresh[i]).String()).Scan(&cosine); err != nil {
			return fmt.Errorf("reading a vector: %w", err)
		}
		c.leastCosine = min(c.leastCosine, cosine)
	}
	return nil
}

// summary ends the demo.
func (d *demo) summary() error {
	c := d.compared
	d.sayf("\nSummary")
	d.factf("table", "%s rows, %s of them live", grouped(c.rows), grouped(c.live))
	d.factf("vectors", "%s, each of its row's present text", grouped(c.vectors))
	d.factf("backfill", "%s texts encoded in %.1f s, %.0f a second", grouped(d.embedded), d.filled.Seconds(), float64(d.embedded)/d.filled.Seconds())
	d.factf("stream", "%s events in %s batches, %s texts encoded",
		grouped(d.totals.Events), grouped(d.totals.Batches), grouped(d.totals.TextsEncoded))
	d.factf("freshness", "p50 %s, p99 %s from COMMIT to searchable, at %d changes a second",
		readableMillis(d.freshness.P50), readableMillis(d.freshness.P99), Rate)
	d.factf("check", "the vectors equal a fresh encoding of the table")
	d.factf("took", "%.1f s", time.Since(d.begun).Seconds())
	return d.err
}
