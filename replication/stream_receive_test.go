package replication

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// A stream without a connection takes what a server would send.

func offline(from change.LSN) *Stream {
	return newStream(Options{Table: change.Table{Schema: "public", Name: "item", OID: 1}}.withDefaults(), nil, witnessOf(change.Place{Watermark: from}, 0), 0)
}

func keepalive(end change.LSN) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{'k'}, uint64(end)), make([]byte, 9)...)
}

func logData(payload []byte) []byte {
	return append(append([]byte{'w'}, make([]byte, 24)...), payload...)
}

func begins(final change.LSN, xid uint32) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'B'}, uint64(final))
	return logData(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, 0), xid))
}

func truncates() []byte { return logData([]byte{'T', 0, 0, 0, 1, 0, 0, 0, 0, 1}) }

func commits(final, end change.LSN) []byte {
	b := binary.BigEndian.AppendUint64([]byte{'C', 0}, uint64(final))
	return logData(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(end)), 0))
}

func receiveAll(t *testing.T, s *Stream, messages ...[]byte) error {
	t.Helper()
	for i, m := range messages {
		if err := s.data(m); err != nil {
			if i != len(messages)-1 {
				t.Fatalf("message %d: %v", i, err)
			}
			return err
		}
	}
	return nil
}

func drained(s *Stream) []change.Fragment {
	var out []change.Fragment
	for {
		item, found := s.queue.head()
		if !found {
			return out
		}
		out = append(out, item.fragment)
		s.queue.taken(item.serial)
	}
}

func TestIdlePositionsComeBetweenTransactionsOnly(t *testing.T) {
	s := offline(100)
	if err := receiveAll(t, s, keepalive(90), keepalive(100), keepalive(110), begins(200, 7), keepalive(300), truncates(), keepalive(400), commits(200, 250), keepalive(250), keepalive(260)); err != nil {
		t.Fatal(err)
	}
	got := drained(s)
	if len(got) != 3 || got[0].End != 110 || got[1].End != 250 || len(got[1].Events) != 1 || got[2].End != 260 {
		t.Fatalf("got %+v", got)
	}
}

func TestTransactionsBelowTheWatermarkAreSkipped(t *testing.T) {
	s := offline(250)
	if err := receiveAll(t, s, begins(200, 7), truncates(), commits(200, 250), begins(250, 8), truncates(), commits(250, 300)); err != nil {
		t.Fatal(err)
	}
	if got := drained(s); len(got) != 1 || got[0].XID != 8 || got[0].LSN != 251 {
		t.Fatalf("got %+v", got)
	}
	err := receiveAll(t, offline(220), begins(200, 7), truncates(), commits(200, 250))
	if fault.KindOf(err) != fault.Gap || !strings.Contains(err.Error(), "inside the commit record") {
		t.Fatalf("a watermark inside a commit record: %v", err)
	}
}

func TestTransactionBehindAnIdlePositionIsAnError(t *testing.T) {
	if err := receiveAll(t, offline(100), keepalive(300), begins(200, 7), truncates(), commits(200, 250)); err == nil {
		t.Fatal("the position that was reported covers a transaction that was not delivered")
	}
}

func TestCopyDataThatMakesNoSenseIsAnError(t *testing.T) {
	for _, m := range [][]byte{{}, {'x'}, {'k', 1}, {'w', 1}} {
		if err := offline(1).data(m); err == nil {
			t.Errorf("%q: want an error", m)
		}
	}
}
