package pgoutput

import (
	"bytes"
	"encoding/binary"
)

// reader takes values off the front of a message. After an overrun every read returns zero and
// short is true, so that a parser checks once, at its end.
type reader struct {
	rest  []byte
	short bool
	apart [][]byte // values that came beside the message
}

// take returns the next n bytes, which alias the message.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.short, r.rest = true, nil
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

// takeApart returns the next value that came beside the message; the zero value when that has not
// the length that is said here.
func (r *reader) takeApart() value {
	size := r.uint32()
	if len(r.apart) == 0 || uint64(len(r.apart[0])) != uint64(size) {
		return value{}
	}
	v := value{kind: kindText, apart: true, data: r.apart[0]}
	r.apart = r.apart[1:]
	return v
}

func (r *reader) uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// columns returns a number of columns; one beyond Postgres' bound counts as an overrun.
func (r *reader) columns() uint16 {
	n := r.uint16()
	if n > mostColumns {
		r.short, r.rest = true, nil
		return 0
	}
	return n
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// text returns the bytes before the next zero byte and steps over it.
func (r *reader) text() []byte {
	n := bytes.IndexByte(r.rest, 0)
	if n < 0 {
		r.short, r.rest = true, nil
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n+1:]
	return out
}
