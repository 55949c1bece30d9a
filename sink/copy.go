package sink

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/pgvector/pgvector-go"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// copies are the statements that copy a generation's vectors.
type copies struct{ absent, copy string }

// copies renders the statements of every generation. Every type of a key has a binary form
// (change.Type).
func (l *layout) copies(s *Sink) []copies {
	own := s.tablesOf(l.key)
	all := make([]copies, len(l.generations))
	for i, g := range l.generations {
		t := own.forGeneration(s, g.Generation, l.extension.schema)
		all[i] = copies{absent: render("vectors_absent", t), copy: render("vectors_copy", t)}
	}
	return all
}

// load writes a chunk's changes as queue does, and copies the vectors of keys that have none: COPY
// takes a vector in a fifth of the time that an upsert needs for it, and in a first load nearly all
// are new. The ledger's rows are locked by then, also those that reject the chunk, so no other
// process writes vectors of these keys in the meantime.
func (w *writes) load(ctx context.Context, tx pgx.Tx, j *Job, epoch change.Epoch, out *written) error {
	given := make([]upserts, len(w.upserts))
	for i := range w.upserts {
		u := &w.upserts[i]
		given[i].given, given[i].vectors = u.given, u.vectors
		u.given, u.vectors = newKeyed(len(j.layout.key)), nil
	}
	b := &pgx.Batch{}
	w.queue(b, j.sink, j.layout, epoch, out)
	if err := send(ctx, tx, b); err != nil {
		return err
	}
	for i := range given {
		u := &given[i]
		if len(u.vectors) == 0 {
			continue
		}
		if err := w.copyVectors(ctx, tx, j, i, u, out); err != nil {
			return err
		}
		w.upserts[i].given, w.upserts[i].vectors = u.given, u.vectors
	}
	return nil
}

// copyVectors writes the vectors of one generation: by COPY where its table has none of the key, by
// an upsert elsewhere.
func (w *writes) copyVectors(ctx context.Context, tx pgx.Tx, j *Job, generation int, u *upserts, out *written) error {
	g, c := &j.layout.generations[generation], j.copies[generation]
	rows, others, err := absent(ctx, tx, c.absent, u)
	if err != nil {
		return err
	}
	var n int64
	if rows.len() > 0 {
		rows.half = g.Storage == HalfVec
		tag, err := tx.Conn().PgConn().CopyFrom(ctx, rows, c.copy)
		if err != nil {
			return fmt.Errorf("copying vectors: %w", err)
		}
		n = tag.RowsAffected()
	}
	if len(others.vectors) > 0 {
		tag, err := tx.Exec(ctx, g.upsert, others.given.args(w.force, others.given.hashes, others.vectors)...)
		if err != nil {
			return err
		}
		n += tag.RowsAffected()
	}
	out.vectors = max(out.vectors, n)
	return nil
}

// absent returns the vectors to copy, and the others.
func absent(ctx context.Context, tx pgx.Tx, query string, u *upserts) (*copied, upserts, error) {
	columns := len(u.given.columns)
	rows, err := tx.Query(ctx, query, append([]any{pgx.QueryResultFormats{pgx.BinaryFormatCode}}, u.given.args(u.given.hashes)...)...)
	if err != nil {
		return nil, upserts{}, err
	}
	defer rows.Close()
	c := &copied{upserts: u, columns: columns}
	there := make([]bool, len(u.vectors))
	for rows.Next() {
		raw := rows.RawValues()
		if len(raw) != 1+columns || len(rows.FieldDescriptions()) != len(raw) {
			return nil, upserts{}, fault.New(fault.Usage, mayAsk, "the sink answered with %d columns, not with %d", len(raw), 1+columns)
		}
		if rows.FieldDescriptions()[0].Format != pgx.BinaryFormatCode {
			continue // a connection that speaks in texts: nothing is copied
		}
		at, err := rowNumber(raw[0], len(there))
		if err != nil {
			return nil, upserts{}, err
		}
		there[at] = true
		c.at = append(c.at, at)
		for _, value := range raw[1:] {
			c.keys = append(binary.BigEndian.AppendUint32(c.keys, uint32(len(value))), value...)
		}
		c.ends = append(c.ends, len(c.keys))
	}
	if err := rows.Err(); err != nil {
		return nil, upserts{}, err
	}
	others := upserts{given: newKeyed(columns)}
	parts := make([]string, columns)
	for i, found := range there {
		if found {
			continue
		}
		for column := range parts {
			parts[column] = u.given.columns[column][i]
		}
		others.given.add(parts, u.given.hashes[i])
		others.vectors = append(others.vectors, u.vectors[i])
	}
	return c, others, nil
}

// copied is the rows of a vector table in the binary form of COPY, made while they are read.
type copied struct {
	upserts *upserts
	columns int
	half    bool
	at      []int  // which of the upserts
	keys    []byte // their key columns, each behind its length
	ends    []int  // of each row in keys

	begun, ended bool
	next         int
	buffer       []byte
	sent         int
}

func (c *copied) len() int { return len(c.at) }

// copyBlock is what is made at once; pgx sends pieces of 64 KiB.
const copyBlock = 1 << 16

// Read is for COPY.
func (c *copied) Read(p []byte) (int, error) {
	if c.sent == len(c.buffer) {
		if c.ended {
			return 0, io.EOF
		}
		c.fill()
	}
	n := copy(p, c.buffer[c.sent:])
	c.sent += n
	return n, nil
}

func (c *copied) fill() {
	b := c.buffer[:0]
	if !c.begun {
		b, c.begun = append(b, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...), true // no flags, no extension
	}
	for ; c.next < len(c.at) && len(b) < copyBlock; c.next++ {
		b = c.appendRow(b, c.next)
	}
	if c.next == len(c.at) {
		b, c.ended = append(b, 0xff, 0xff), true
	}
	c.buffer, c.sent = b, 0
}

func (c *copied) appendRow(b []byte, row int) []byte {
	begin := 0
	if row > 0 {
		begin = c.ends[row-1]
	}
	at := c.at[row]
	hash := c.upserts.given.hashes[at]
	b = binary.BigEndian.AppendUint16(b, uint16(c.columns+2))
	b = append(b, c.keys[begin:c.ends[row]]...)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(hash))), hash...)
	return appendVector(b, c.upserts.vectors[at], c.half)
}

// appendVector appends a field of type vector or halfvec: its length in bytes, the dimension, two
// bytes that are zero, the components.
func appendVector(b []byte, vector pgvector.Vector, half bool) []byte {
	v := vector.Slice()
	size := 4
	if half {
		size = 2
	}
	b = binary.BigEndian.AppendUint32(b, uint32(4+size*len(v)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(v)))
	b = append(b, 0, 0)
	for _, component := range v {
		if half {
			b = binary.BigEndian.AppendUint16(b, halfOf(component))
		} else {
			b = binary.BigEndian.AppendUint32(b, math.Float32bits(component))
		}
	}
	return b
}

// halfOf rounds to the nearest number of 16 bits, to the even one of two, as the server's cast
// does. What is too large becomes an infinity, which the server refuses.
func halfOf(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits>>16) & 0x8000
	exponent := int(bits>>23&0xff) - 127
	mantissa := bits & 0x7fffff
	switch {
	case exponent == 128 && mantissa != 0:
		return sign | 0x7e00 // not a number
	case exponent > 15:
		return sign | 0x7c00
	case exponent < -25:
		return sign
	}
	var whole, rest, half uint32
	if exponent >= -14 {
		whole, rest, half = uint32(exponent+15)<<10|mantissa>>13, mantissa&0x1fff, 0x1000
	} else { // subnormal
		shift := uint(-exponent - 1)
		mantissa |= 0x800000
		whole, rest, half = mantissa>>shift, mantissa&(1<<shift-1), 1<<(shift-1)
	}
	if rest > half || rest == half && whole&1 == 1 {
		whole++ // a carry into the exponent is right, up to infinity
	}
	return sign | uint16(whole)
}
