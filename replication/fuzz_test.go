package replication

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/wal2vec/wal2vec/replication/pgoutput"
)

// sent is a message of the protocol that a server sends.
func sent(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...)
}

// announced is a message of which only the beginning comes.
func announced(kind byte, size uint32, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, size), body...)
}

// FuzzWalsender feeds any bytes as what a server sends during replication: nothing panics, and what
// is held follows what came, whatever lengths the server announces.
func FuzzWalsender(f *testing.F) {
	transaction := slices.Concat(sent('d', begins(200, 7)), sent('d', truncates()), sent('d', commits(200, 250)))
	f.Add(slices.Concat(sent('d', keepalive(110)), transaction, sent('d', keepalive(300)), sent('c', nil), sent('C', []byte("COPY 0\x00")), sent('Z', []byte{'I'})))
	f.Add(sent('E', []byte("SFATAL\x00C58P01\x00Mgone\x00\x00")))
	f.Add(slices.Concat(sent('N', []byte("SNOTICE\x00\x00")), sent('S', []byte("a\x00b\x00")), announced('d', 1<<30, 'w')))
	for _, size := range []uint32{0, 4, 1 << 20, 1 << 30, 1<<31 - 1, 1 << 31, ^uint32(0)} {
		f.Add(slices.Concat(transaction, announced('d', size, logData([]byte{'I', 0, 0, 0, 1, 'N', 0, 5, 't', 0x3f, 0, 0, 0})...)))
		f.Add(slices.Concat(transaction, announced('E', size, 'S')))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := offline(100)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		shrinker := pgoutput.NewShrinker(bytes.NewReader(data))
		s.shrinks(shrinker)
		frontend := pgproto3.NewFrontend(shrinker, nil)
		for {
			message, err := frontend.Receive()
			if err != nil || s.handle(message) != nil {
				break
			}
		}
		runtime.ReadMemStats(&after)
		if held, most := after.TotalAlloc-before.TotalAlloc, uint64(4<<20+64*len(data)); held > most {
			t.Fatalf("%d bytes were allocated for %d", held, len(data))
		}
		if n := shrinker.Received(); n > uint64(len(data)) {
			t.Fatalf("%d bytes were received of %d", n, len(data))
		}
	})
}
