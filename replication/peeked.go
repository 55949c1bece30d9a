package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/replication/pgoutput"
)

const (
	copyHead = 1 + 4   // of a walsender's message: type and length
	walHead  = 1 + 3*8 // of what is in it: type, two positions, time
)

// peeked gives out messages of the log, which come in parts, as a walsender sends them: so that a
// pgoutput.Shrinker can read them, and a row costs no more memory than in a stream.
type peeked struct {
	rows   pgx.Rows
	number int64  // of the message
	left   int64  // bytes of it that have not come
	head   []byte // what is left of the head
	part   []byte // what is left of the part; valid until the next one
}

var errParts = errors.New("the parts of the log's messages do not come in their order")

// Read reads messages, as an io.Reader.
func (p *peeked) Read(b []byte) (int, error) {
	for len(p.head)+len(p.part) == 0 {
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	from := &p.part
	if len(p.head) > 0 {
		from = &p.head
	}
	n := copy(b, *from)
	*from = (*from)[n:]
	return n, nil
}

// next takes the next part.
func (p *peeked) next() error {
	if !p.rows.Next() {
		if err := p.rows.Err(); err != nil {
			return err
		}
		if p.left > 0 {
			return io.ErrUnexpectedEOF
		}
		return io.EOF
	}
	var number, length int64
	var part pgtype.DriverBytes
	if err := p.rows.Scan(&number, &length, &part); err != nil {
		return err
	}
	if p.left == 0 {
		p.number, p.left, p.head = p.number+1, length, headOf(length)
	}
	if p.left -= int64(len(part)); number != p.number || p.left < 0 {
		return errParts
	}
	p.part = part
	return nil
}

// headOf is what stands before a message of the log.
func headOf(length int64) []byte {
	head := make([]byte, copyHead+walHead)
	head[0], head[copyHead] = 'd', 'w'
	binary.BigEndian.PutUint32(head[1:], uint32(length+copyHead-1+walHead)) //nolint:gosec // the server's values have less than 1 GiB
	return head
}

// events decodes messages and calls each with the events of transactions that end behind a
// position.
func events(messages *peeked, decoder *pgoutput.Decoder, from change.LSN, each func(change.Event)) error {
	shrinker := pgoutput.NewShrinker(messages)
	shrinker.Serve(decoder)
	var head [copyHead]byte
	var message []byte
	for {
		if _, err := io.ReadFull(shrinker, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		length := int(binary.BigEndian.Uint32(head[1:])) - (copyHead - 1)
		if length < walHead {
			return fmt.Errorf("decoding: a message of %d bytes", length)
		}
		if cap(message) < length {
			message = make([]byte, length)
		}
		message = message[:length]
		if _, err := io.ReadFull(shrinker, message); err != nil {
			return err
		}
		fragment, complete, err := decoder.Decode(message[walHead:])
		if err != nil {
			return err
		}
		if !complete || fragment.LSN <= from {
			continue
		}
		for _, event := range fragment.Events {
			each(event)
		}
	}
}
