package pgtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"
)

// hostileTexts are what a text may become.
var hostileTexts = []string{
	Hostile + `"; DROP TABLE wal2vec.pipeline; --`, Hostile + `'; DROP TABLE wal2vec.pipeline; --`, Hostile + "\\'; SELECT 1 --",
	Hostile + "\x00\x1b[31m\n\u202e", Hostile + "(1); SELECT pg_sleep(100)--", Hostile + strings.Repeat("a", 70_000), "{" + Hostile, "\xff" + Hostile, "",
	Hostile + "$$; SELECT 1; $$", Hostile + "%s%d%!", Hostile + "/../../etc/passwd",
}

// absurdNumbers are what a number may become.
var absurdNumbers = []int64{-1, 0, 1, 2, 7, 1<<15 - 1, 1 << 15, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 + 1, 1<<62 + 1, 1<<63 - 1, -1 << 31, -1 << 63}

// nonsenseFor makes up a value for a column.
func nonsenseFor(f Field, value []byte, how, with int) []byte {
	number := absurdNumbers[with%len(absurdNumbers)]
	text := []byte(hostileTexts[with%len(hostileTexts)])
	switch how % 5 {
	case 0:
		return nil
	case 1:
		return value[:min(len(value), with%9)]
	}
	if f.Format == pgtype.TextFormatCode {
		switch f.OID {
		case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID, pgtype.NumericOID, pgtype.Float8OID, pgtype.Float4OID:
			return fmt.Append(nil, number)
		default:
			return text
		}
	}
	switch f.OID {
	case pgtype.Int2OID:
		return binary.BigEndian.AppendUint16(nil, uint16(number))
	case pgtype.Int4OID, pgtype.OIDOID, pgtype.Float4OID, pgtype.DateOID:
		return binary.BigEndian.AppendUint32(nil, uint32(number))
	case pgtype.Int8OID, pgtype.Float8OID, pgtype.TimestamptzOID:
		return binary.BigEndian.AppendUint64(nil, uint64(number))
	case pgtype.BoolOID:
		return []byte{byte(with)}
	case pgtype.TextOID, pgtype.NameOID, pgtype.VarcharOID, pgtype.ByteaOID:
		return text
	}
	if how%2 == 0 { // an array, with what it says of itself changed: dimensions, elements, their lengths
		changed := bytes.Clone(value)
		if at := 4 * (with % max(1, len(changed)/4)); at+4 <= len(changed) {
			binary.BigEndian.PutUint32(changed[at:], uint32(number))
		}
		return changed
	}
	return arrayOf(f.OID, with)
}

// arrayOf is an array of hostile texts; more of them the larger with is.
func arrayOf(_ uint32, with int) []byte {
	n := with % 5
	b := binary.BigEndian.AppendUint32(nil, uint32(min(n, 1)))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, pgtype.TextOID)
	if n == 0 {
		return b
	}
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint32(b, 1)
	for i := range n {
		text := hostileTexts[(with+i)%len(hostileTexts)]
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
	}
	return b
}

func spoilParameters(oids []uint32, with byte) []uint32 {
	if with%2 == 0 || len(oids) == 0 {
		return append(append([]uint32{}, oids...), pgtype.TextOID)
	}
	changed := append([]uint32{}, oids...)
	changed[int(with)%len(changed)] = []uint32{pgtype.BoolOID, pgtype.Int4OID, 0, pgtype.TextArrayOID, 1 << 31}[int(with)%5]
	return changed
}

func spoilFields(fields []Field, at, with byte) []Field {
	changed := append([]Field{}, fields...)
	f := &changed[int(at)%len(changed)]
	switch with % 4 {
	case 0:
		return changed[:len(changed)-1]
	case 1:
		return append(changed, Field{Name: Hostile, OID: pgtype.TextOID})
	case 2:
		f.Format = 1 - f.Format
	default:
		f.OID = []uint32{pgtype.TextOID, pgtype.Int4OID, pgtype.BoolOID, pgtype.TextArrayOID, pgtype.JSONBOID, pgtype.NumericOID, 0, 1 << 31}[int(with/4)%8]
	}
	return changed
}

func cloneRows(rows [][][]byte) [][][]byte {
	out := make([][][]byte, len(rows))
	for i, row := range rows {
		out[i] = append([][]byte{}, row...)
	}
	return out
}
