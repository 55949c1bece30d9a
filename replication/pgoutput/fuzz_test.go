package pgoutput

import (
	"encoding/binary"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
)

// split cuts fuzzed bytes into messages, each behind a length of two bytes, so that the fuzzer can build whole transactions.
func split(data []byte) [][]byte {
	var out [][]byte
	for len(data) >= 2 {
		n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
		out = append(out, data[2:2+n])
		data = data[2+n:]
	}
	return out
}

func joined(messages ...[]byte) []byte {
	var out []byte
	for _, m := range messages {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(m))), m...)
	}
	return out
}

func FuzzDecoder(f *testing.F) {
	relation := relationMessage(productOID, productColumns...)
	f.Add(joined(relation, beginMessage(1, 1), insertMessage(productOID, "9", "f", "d", "1", "n"), commitMessage(1, 2)))
	f.Add(joined(relation, beginMessage(1, 1), updateMessage(productOID, absent{}, "t", unchanged{}, "1", "n"), truncateMessage(productOID), commitMessage(1, 2)))
	f.Add(joined(relation, beginMessage(1, 1), deleteMessage(productOID, tupleKey, absent{}, absent{}, absent{}, "1", absent{}), []byte{'A', 0, 1}))
	f.Add(joined(relation, beginMessage(1, 1), updateFromMessage(productOID, tupleOldFull, []any{"9", "f", "d", "1", "n"}, []any{"9", "f", unchanged{}, "2", "n"})))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := NewDecoder(product(t), Limits{Events: 3, Bytes: 500})
		for _, message := range split(data) {
			fragment, complete, err := d.Decode(message)
			if err != nil {
				return
			}
			if !complete {
				continue
			}
			if fragment.End != 0 && fragment.End < fragment.LSN {
				t.Fatalf("fragment at %s ends at %s", fragment.LSN, fragment.End)
			}
			for _, e := range fragment.Events {
				if (e.Op == change.Upsert) != (len(e.Fields) == 2) || e.Op == change.Truncate && e.Key != "" {
					t.Fatalf("bad event %+v", e)
				}
			}
		}
	})
}
