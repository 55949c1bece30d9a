package sink

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/pgvector/pgvector-go"
	vectors "github.com/pgvector/pgvector-go/pgx"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// What the sink answers is checked before it becomes an index or a length: a server that was
// replaced, or a row that somebody else wrote, is an error and never the end of the process.

// LargestMessage bounds what a session of the sink takes as one message, in bytes: a row is a key,
// hashes and one vector, far below it. pgx takes memory for whatever length a message says that it
// has. It is for the pool's MaxProtocolMessageBodyLen.
const LargestMessage = 64 << 20

// mayAsk is what to do about a server that answers what it was not asked.
const mayAsk = "make sure that sink.dsn leads to the database that wal2vec init set up: wal2vec doctor"

// oneOf refuses the number of a row of ours that the server did not get.
func oneOf(at, rows int) error {
	if at >= 0 && at < rows {
		return nil
	}
	return fault.New(fault.Usage, mayAsk, "the sink answered with row %d of the %d that it was asked about", at, rows)
}

// rowNumber reads such a number in binary form.
func rowNumber(bigint []byte, rows int) (int, error) {
	if len(bigint) != 8 {
		return 0, fault.New(fault.Usage, mayAsk, "the sink answered with a number of %d bytes", len(bigint))
	}
	at := int64(binary.BigEndian.Uint64(bigint)) //nolint:gosec // a signed number on the wire
	return int(at), oneOf(int(at), rows)
}

// storedHash refuses a hash of another length.
func storedHash(bytes []byte) (change.Hash, error) {
	if len(bytes) != len(change.Hash{}) {
		return change.Hash{}, fault.New(fault.Usage, mayAsk, "the sink has a hash of %d bytes", len(bytes))
	}
	return change.Hash(bytes), nil
}

// vectorCodec is pgvector's, whose decoders rely on the lengths that a value names, and end the
// process where these are wrong.
type vectorCodec struct{ vectors.VectorCodec }

// PlanScan checks a value before pgvector's plan reads it.
func (c vectorCodec) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan { //nolint:ireturn // a codec's method
	plan := c.VectorCodec.PlanScan(m, oid, format, target)
	if plan == nil {
		return nil
	}
	return vectorPlan{plan, format}
}

type vectorPlan struct {
	pgtype.ScanPlan
	format int16
}

// Scan returns an error for what is no vector.
func (p vectorPlan) Scan(src []byte, target any) error {
	const header, component = 4, 4
	whole := len(src) >= len("[]") && src[0] == '[' && src[len(src)-1] == ']'
	if p.format == pgtype.BinaryFormatCode {
		whole = len(src) >= header && len(src) == header+component*int(binary.BigEndian.Uint16(src))
	}
	if !whole {
		return fmt.Errorf("%d bytes are no vector", len(src))
	}
	return p.ScanPlan.Scan(src, target)
}

// components reads a vector or a halfvec in the form in which the server sent a column of a row,
// nil where there is none. It needs neither a cast nor an operator, which would have to be named by
// pgvector's schema.
func components(rows pgx.Rows, column int, raw []byte) ([]float32, error) {
	const header, single, half = 4, 4, 2
	if raw == nil {
		return nil, nil
	}
	if rows.FieldDescriptions()[column].Format == pgtype.TextFormatCode {
		return textComponents(string(raw))
	}
	if len(raw) < header {
		return nil, noVector(len(raw))
	}
	switch dimension := int(binary.BigEndian.Uint16(raw)); len(raw) - header {
	case single * dimension:
		vector := make([]float32, dimension)
		for i := range vector {
			vector[i] = math.Float32frombits(binary.BigEndian.Uint32(raw[header+single*i:]))
		}
		return vector, nil
	case half * dimension:
		var vector pgvector.HalfVector
		plan := vectors.HalfVectorCodec{}.PlanScan(nil, 0, pgtype.BinaryFormatCode, &vector)
		if err := plan.Scan(raw, &vector); err != nil {
			return nil, fmt.Errorf("reading a vector: %w", err)
		}
		return vector.Slice(), nil
	default:
		return nil, noVector(len(raw))
	}
}

func textComponents(text string) ([]float32, error) {
	inner, opened := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !opened || !closed {
		return nil, noVector(len(text))
	}
	var vector []float32
	for part := range strings.SplitSeq(inner, ",") {
		value, err := strconv.ParseFloat(part, 32)
		if err != nil {
			return nil, noVector(len(text))
		}
		vector = append(vector, float32(value))
	}
	return vector, nil
}

func noVector(bytes int) error {
	return fault.New(fault.Usage, mayAsk, "the sink answered with %d bytes that are no vector", bytes)
}

// norm is the length of a vector.
func norm(vector []float32) float64 {
	sum := 0.0
	for _, x := range vector {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}
