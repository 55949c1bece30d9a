package pgoutput

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// wholeBytes is the longest message that a Shrinker hands on as it came: what a client's
	// library allocates for a length that is announced.
	wholeBytes = 1 << 20
	// smallValue is the longest value that is kept no matter what reads it: a note that it is not
	// there takes no less.
	smallValue = 64

	copyData = 'd' // of the frontend/backend protocol: what a walsender sends
	logData  = 'w' // of the replication protocol: the log's bytes

	messageHead = 1 + 4     // type and length
	logHead     = 1 + 3*8   // type, two positions, time
	readAhead   = 64 << 10  // of the connection
	relationID  = 4         // bytes of an object id
	tupleHead   = 1 + 2     // kind, number of columns
	valueHead   = 1 + 4     // kind, length
	blockBytes  = 256 << 10 // of memory for a message that is put together

	apartBytes = 4 << 10 // from how many bytes on a value of a large row has memory of its own, which becomes its field
	trustShare = 4       // the share of such a value that has come before its whole length is believed: one of so many
)

// Shrinker reads a walsender's messages from a connection and hands them on. A row of more than 1
// MiB it puts together while it comes, without the values that nothing needs: those of columns that
// are not read, and those that are beyond the limit of a row. So memory follows what has come, not
// what a server announces, and a row of any size costs no more than the limit. A long value is not
// copied once more: its Decoder is handed it beside the message.
//
// Read must be called by the goroutine that decodes, one message at a time: which columns are
// needed is asked of its Decoder, which has then seen all that came before. An error of the
// connection may be a deadline that passed; reading then goes on where it was.
type Shrinker struct {
	in      *bufio.Reader
	decoder *Decoder
	whole   int64 // wholeBytes but in tests
	apart   int64 // apartBytes but in tests

	pass int64    // bytes left of a message that goes on as it is
	out  [][]byte // a message that was put together, in blocks, or what is left of it
	size int      // bytes of it
	row  shrinking

	received uint64
}

// NewShrinker returns a Shrinker of a connection. Without a Decoder it keeps no value of a large
// row.
func NewShrinker(r io.Reader) *Shrinker {
	return &Shrinker{in: bufio.NewReaderSize(r, readAhead), whole: wholeBytes, apart: apartBytes}
}

// Serve names the decoder that will see the messages.
func (s *Shrinker) Serve(d *Decoder) { s.decoder = d }

// Received counts the bytes that have come of messages, so that one that takes long is told from
// silence.
func (s *Shrinker) Received() uint64 { return s.received }

// Read reads messages, as an io.Reader.
func (s *Shrinker) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k, err := s.fill(p[n:], n == 0)
		n += k
		if k == 0 || err != nil {
			return n, err
		}
	}
	return n, nil
}

// fill copies some bytes into p. It waits for the connection only where nothing was read before;
// else it may return none.
func (s *Shrinker) fill(p []byte, first bool) (int, error) {
	for {
		switch {
		case len(s.out) > 0 && s.row.step == nil:
			n := copy(p, s.out[0])
			if s.out[0] = s.out[0][n:]; len(s.out[0]) == 0 {
				s.out[0] = nil // its memory is free before the last of the message is copied
				s.out = s.out[1:]
			}
			return n, nil
		case s.pass > 0:
			if !first && s.in.Buffered() == 0 {
				return 0, nil
			}
			n, err := s.in.Read(p[:min(int64(len(p)), s.pass)])
			s.pass -= int64(n)
			s.received += uint64(n) //nolint:gosec // read returns none below zero
			return n, err
		case s.row.step != nil:
			if err := s.row.step(s); err != nil {
				return 0, err
			}
		case !first && s.in.Buffered() < messageHead:
			return 0, nil
		default:
			large, err := s.begin()
			if err != nil || large && !first { // what was handed on is to be decoded first
				return 0, err
			}
		}
	}
}

// begin looks at the head of a message. One that is large is taken up only at the next call, when
// it is the first.
func (s *Shrinker) begin() (large bool, err error) {
	head, err := s.in.Peek(messageHead)
	if err != nil {
		return false, err
	}
	length := int64(int32(binary.BigEndian.Uint32(head[1:]))) //nolint:gosec // a signed number on the wire
	switch {
	case length <= s.whole:
		s.pass = max(messageHead, 1+length) // a length below 4 is its reader's to refuse
		return false, nil
	case head[0] != copyData:
		return false, fmt.Errorf("receiving: the server announces a message of type %q and %d bytes", head[0], length)
	}
	s.row = shrinking{left: length - 4, step: (*Shrinker).startRow}
	return true, nil
}
