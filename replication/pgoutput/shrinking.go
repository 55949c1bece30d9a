package pgoutput

import (
	"encoding/binary"
	"fmt"
	"io"
)

// shrinking is a large message while it comes. Each step waits for some bytes, takes them, and
// names the next; nil between two messages. A step that fails has taken nothing that it would need
// again.
type shrinking struct {
	step func(*Shrinker) error
	left int64 // bytes of the message that have not come

	kind     byte // of the message of the log
	relation uint32
	old      bool // the tuple is that of the row before the change

	column, columns int
	room            int64 // bytes that the tuple's values may still take
	rest            int64 // bytes left of a value

	apart []byte   // a long value while it comes, when its length is believed
	parts [][]byte // its blocks before that
}

// peek returns the next n bytes of the message without taking them.
func (s *Shrinker) peek(n int) ([]byte, error) {
	if int64(n) > s.row.left {
		return nil, fmt.Errorf("receiving: a message of type %q ends early", s.row.kind)
	}
	head, err := s.in.Peek(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return head, err
}

// skip takes n bytes that peek has shown.
func (s *Shrinker) skip(n int) {
	_, _ = s.in.Discard(n) // they are there
	s.row.left -= int64(n)
	s.received += uint64(n) //nolint:gosec // the caller peeked at n bytes
}

// keep adds bytes to what is handed on.
func (s *Shrinker) keep(bytes ...byte) {
	s.size += len(bytes)
	s.out = appendBlocks(s.out, bytes)
}

// appendBlocks appends bytes to blocks of memory. There is one more when one is full, so that
// memory follows what has come.
func appendBlocks(blocks [][]byte, bytes []byte) [][]byte {
	for len(bytes) > 0 {
		last := len(blocks) - 1
		if last < 0 || len(blocks[last]) == cap(blocks[last]) {
			blocks = append(blocks, make([]byte, 0, blockBytes))
			last++
		}
		n := min(len(bytes), cap(blocks[last])-len(blocks[last]))
		blocks[last], bytes = append(blocks[last], bytes[:n]...), bytes[n:]
	}
	return blocks
}

func (s *Shrinker) startRow() error {
	if s.row.left < logHead+1 {
		return fmt.Errorf("receiving: log data of %d bytes", s.row.left)
	}
	head, err := s.in.Peek(messageHead + logHead + 1)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	kind := head[messageHead+logHead]
	if head[messageHead] != logData {
		return fmt.Errorf("receiving: copy data of type %q and %d bytes", head[messageHead], s.row.left)
	}
	switch kind {
	case typeInsert, typeUpdate, typeDelete:
		s.row.step = (*Shrinker).startTuples
	case typeBegin, typeCommit, typeRelation, typeTruncate:
		return fmt.Errorf("receiving: a message %q of %d bytes", kind, s.row.left)
	default: // nothing reads it
		s.row.step = (*Shrinker).end
	}
	s.row.kind = kind
	s.keep(head...)
	s.row.left += messageHead // skip counts them
	s.skip(len(head))
	return nil
}

func (s *Shrinker) startTuples() error {
	head, err := s.peek(relationID)
	if err != nil {
		return err
	}
	s.row.relation = binary.BigEndian.Uint32(head)
	s.keep(head...)
	s.skip(len(head))
	s.row.step = (*Shrinker).startTuple
	return nil
}

func (s *Shrinker) startTuple() error {
	head, err := s.peek(tupleHead)
	if err != nil {
		return err
	}
	kind, columns := head[0], int(binary.BigEndian.Uint16(head[1:]))
	if kind != tupleNew && kind != tupleKey && kind != tupleOldFull || columns > mostColumns {
		return fmt.Errorf("receiving: a tuple of kind %q and %d columns", kind, columns)
	}
	s.keep(head...)
	s.skip(len(head))
	s.row.old, s.row.column, s.row.columns, s.row.step = kind != tupleNew, 0, columns, (*Shrinker).startValue
	s.row.room = wholeBytes // an old value is compared, or is one that the new row leaves out; a large one is read by its key
	if !s.row.old {
		s.row.room = s.decoder.mostBytes()
	}
	return nil
}

func (s *Shrinker) startValue() error {
	if s.row.column == s.row.columns {
		if s.row.step = (*Shrinker).end; s.row.old && s.row.kind == typeUpdate {
			s.row.step = (*Shrinker).startTuple
		}
		return nil
	}
	head, err := s.peek(1)
	if err != nil {
		return err
	}
	switch head[0] {
	case kindNull, kindUnchanged:
		s.keep(head...)
		s.skip(1)
		s.row.column++
		return nil
	case kindText, kindBinary:
	default:
		return fmt.Errorf("receiving: a value of kind %q", head[0])
	}
	if head, err = s.peek(valueHead); err != nil {
		return err
	}
	size := int64(int32(binary.BigEndian.Uint32(head[1:]))) //nolint:gosec // a signed number on the wire; one below zero is refused
	if size < 0 || size > s.row.left-valueHead {
		return fmt.Errorf("receiving: a value of %d bytes in a message that has %d left", size, s.row.left-valueHead)
	}
	s.row.rest, s.row.step = size, (*Shrinker).keepValue
	switch use := s.decoder.useOf(s.row.relation, s.row.column); {
	case size <= smallValue, use == asKey && size <= mostKeyBytes:
		s.keep(head...)
	case use == asText && size <= s.row.room:
		if s.row.room -= size; size >= s.apart {
			s.keep(kindApart)
			s.keep(head[1:]...)
			s.row.step = (*Shrinker).takeValue
			break
		}
		s.keep(head...)
	default:
		s.keep(kindOmitted)
		s.keep(head[1:]...)
		s.row.step = (*Shrinker).skipValue
	}
	s.skip(len(head))
	s.row.column++
	return nil
}

func (s *Shrinker) keepValue() error {
	if s.row.rest == 0 {
		s.row.step = (*Shrinker).startValue
		return nil
	}
	if _, err := s.peek(1); err != nil {
		return err
	}
	some, err := s.peek(int(min(s.row.rest, int64(s.in.Buffered()))))
	if err != nil {
		return err
	}
	s.keep(some...)
	s.skip(len(some))
	s.row.rest -= int64(len(some))
	return nil
}

func (s *Shrinker) skipValue() error {
	if s.row.rest == 0 {
		s.row.step = (*Shrinker).startValue
		return nil
	}
	if _, err := s.peek(1); err != nil {
		return err
	}
	some := int(min(s.row.rest, int64(s.in.Buffered())))
	s.skip(some)
	s.row.rest -= int64(some)
	return nil
}

// takeValue reads a long value into memory of its own, which is one piece once some of it has come.
func (s *Shrinker) takeValue() error {
	r := &s.row
	if r.rest == 0 {
		s.decoder.apart = append(s.decoder.apart, r.apart)
		r.apart, r.step = nil, (*Shrinker).startValue
		return nil
	}
	if _, err := s.peek(1); err != nil {
		return err
	}
	some, err := s.peek(int(min(r.rest, int64(s.in.Buffered()))))
	if err != nil {
		return err
	}
	came := 0
	for _, part := range r.parts {
		came += len(part)
	}
	whole := int64(came+len(r.apart)) + r.rest
	if r.apart == nil && (whole <= blockBytes || int64(came) >= whole/trustShare) {
		r.apart = make([]byte, 0, whole)
		for _, part := range r.parts {
			r.apart = append(r.apart, part...)
		}
		r.parts = nil
	}
	if r.apart != nil {
		r.apart = append(r.apart, some...)
	} else {
		r.parts = appendBlocks(r.parts, some)
	}
	s.skip(len(some))
	r.rest -= int64(len(some))
	return nil
}

// end skips what is left and hands the message on.
func (s *Shrinker) end() error {
	if s.row.left > 0 {
		if _, err := s.peek(1); err != nil {
			return err
		}
		s.skip(int(min(s.row.left, int64(s.in.Buffered()))))
		return nil
	}
	binary.BigEndian.PutUint32(s.out[0][1:], uint32(s.size-1)) //nolint:gosec // it is no longer than it came, in 31 bits
	s.row, s.size = shrinking{}, 0
	return nil
}
