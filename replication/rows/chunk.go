package rows

import (
	"context"
	"fmt"
	"strconv"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/sql"
)

// chunkBytes is from how many bytes of the templates' values on no further row is read at once:
// some hundred rows of prose are a tenth of it.
const chunkBytes = 16 << 20

// Chunk reads up to limit rows whose key comes after a key, or the first ones when that is empty;
// fewer where they are large.
func (r *Reader) Chunk(ctx context.Context, after change.Key, limit int) (protocol.RowChunk, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(ctx); err != nil {
		return protocol.RowChunk{}, err
	}
	c, err := r.sendable(ctx, after, limit)
	if err != nil {
		return protocol.RowChunk{}, r.explain(err, "reading rows of "+r.name())
	}
	if c.High, err = r.position(ctx, "source_insert_lsn"); err != nil {
		return protocol.RowChunk{}, err
	}
	c.High = c.High.RecordEnd()
	if n := len(c.Rows); n > 0 {
		c.Last = c.Rows[n-1].Key
	}
	return c, nil
}

// sendable reads the rows, fewer where a value of one has no form in UTF-8: that row is read alone,
// as bytes.
func (r *Reader) sendable(ctx context.Context, after change.Key, limit int) (protocol.RowChunk, error) {
	for {
		c, err := r.chunk(ctx, after, limit, r.row)
		switch {
		case !fault.Untranslatable(err):
			return c, err
		case limit <= 1:
			return r.chunk(ctx, after, limit, r.row.raw())
		}
		limit /= 2
	}
}

// chunk reads the rows. As long as none is larger than its share of the bytes, the server need not
// count them, which takes it longer than to read the rows; where one is, what was read is read
// again.
func (r *Reader) chunk(ctx context.Context, after change.Key, limit int, s selection) (protocol.RowChunk, error) {
	for {
		counted, share := r.counts, chunkBytes/int64(max(1, limit))
		data := chunkQuery{selection: s.within(share), Limit: limit}
		if counted {
			data.selection, data.Bytes = s, chunkBytes
		}
		statement, params, err := r.chunkStatement(data, after)
		if err != nil {
			return protocol.RowChunk{}, err
		}
		c := protocol.RowChunk{Session: r.session}
		var bytes, largest int64
		err = r.read(ctx, statement, func(raw rawRow) error {
			row, err := data.read(raw)
			if n := len(c.Rows); n > 0 && c.Rows[n-1].Key == row.Key {
				return r.duplicate(row.Key)
			}
			c.Rows, bytes, largest = append(c.Rows, row.Row), bytes+row.bytes, max(largest, row.bytes, row.postponed)
			return err
		}, params...)
		if err != nil {
			return protocol.RowChunk{}, err
		}
		if r.counts = largest > share; r.counts && !counted {
			continue
		}
		c.Done = len(c.Rows) < limit && bytes < chunkBytes
		return c, nil
	}
}

// chunkQuery is the data of the query source_chunk.
type chunkQuery struct {
	selection
	After, Ordinals  []string
	Row, Sent, Table string
	Limit, Bytes     int
}

func (r *Reader) chunkStatement(data chunkQuery, after change.Key) (string, [][]byte, error) {
	data.Ordinals, data.Table = data.ordinals(), r.from()
	var err error
	if data.Row, data.Sent, err = data.render(); err != nil {
		return "", nil, err
	}
	var params [][]byte
	if after != "" {
		parts, err := r.parts(after)
		if err != nil {
			return "", nil, err
		}
		for i, part := range parts {
			params = append(params, []byte(part))
			data.After = append(data.After, "$"+strconv.Itoa(i+1)+"::"+r.opts.Table.Key[i].Type.SQL())
		}
	}
	statement, err := sql.Render("source_chunk", data)
	return statement, params, err
}

// parts splits a key and checks that it has one part for each key column.
func (r *Reader) parts(key change.Key) ([]string, error) {
	parts := key.Parts()
	if len(parts) != len(r.opts.Table.Key) {
		return nil, fmt.Errorf("reading rows of %s: key %q has %d parts, the table's key %d", r.name(), key, len(parts), len(r.opts.Table.Key))
	}
	return parts, nil
}

// explain names the table and what to do when one of its columns is gone, or may not be read. A
// fault says what is wrong with which table already.
func (r *Reader) explain(err error, doing string) error {
	if isFault(err) {
		return err
	}
	switch fault.SQLSTATE(err) {
	case "42703":
		return fault.Wrap(err, fault.Usage, "put the column back, or retire the generation whose template reads it; then: wal2vec backfill",
			"%s: a column that key, template or soft-delete rule need is gone", doing)
	case "22021", "22P05":
		return fault.Wrap(err, fault.Usage, "repair it: see source.encoding in docs/operations.md", "%s: a value has no form in UTF-8", doing)
	case "42501":
		return fault.Wrap(err, fault.Usage, "wal2vec doctor, which names the right that is missing", "%s: this role may not", doing)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

const byOwner = pgname.ByOwner

// duplicate refuses a table that has lost its unique index: which of two rows the sink should hold
// is anybody's guess.
func (r *Reader) duplicate(key change.Key) error {
	names := make([]string, len(r.opts.Table.Key))
	for i, column := range r.opts.Table.Key {
		names[i] = column.Name
	}
	index := fmt.Sprintf("CREATE UNIQUE INDEX ON %s (%s);", r.relation(), pgname.List(names))
	return fault.New(fault.Usage, "remove one of them, then: "+index+byOwner,
		"%s holds two rows with the key %s", r.name(), key)
}

// position runs a query that returns a position of the log.
func (r *Reader) position(ctx context.Context, query string) (change.LSN, error) {
	text, err := r.one(ctx, sql.Query(query))
	if err != nil {
		return 0, fmt.Errorf("reading the source's log position: %w", err)
	}
	lsn, err := change.ParseLSN(text)
	if err != nil {
		return 0, fmt.Errorf("reading the source's log position: %w", err)
	}
	return lsn, nil
}

func quote(name string) string { return pgname.Identifier(name) }

// relation is the table's name for statements, name the one for people.
func (r *Reader) relation() string {
	return pgname.Qualified(r.opts.Table.Schema, r.opts.Table.Name)
}

func (r *Reader) name() string { return r.opts.Table.Schema + "." + r.opts.Table.Name }
