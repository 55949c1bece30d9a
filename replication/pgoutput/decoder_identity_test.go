package pgoutput

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// TestAChangeWhoseKeyIsNotInTheLogIsAGap: what was logged under a replica identity without the key
// names no row, or not the row of before.
func TestAChangeWhoseKeyIsNotInTheLogIsAGap(t *testing.T) {
	t.Parallel()
	byName := []any{absent{}, absent{}, absent{}, absent{}, "n"}
	row := []any{"9", "f", "d", "1", "n"}
	for name, test := range map[string]struct {
		identity    string
		partitioned bool
		message     []byte
		gap         string
		events      int
	}{
		"a delete":                        {identity: "name", message: deleteMessage(productOID, tupleKey, byName...), gap: "carries no value"},
		"an update of the identity":       {identity: "name", message: updateFromMessage(productOID, tupleKey, byName, row), gap: "carries no value"},
		"an update":                       {identity: "name", message: updateMessage(productOID, row...), gap: "did not hold the key"},
		"an update without any identity":  {message: updateMessage(productOID, row...), gap: "did not hold the key"},
		"an update with the whole row":    {identity: "name", message: updateFromMessage(productOID, tupleOldFull, row, row), events: 1},
		"an insert":                       {identity: "name", message: insertMessage(productOID, row...), events: 1},
		"a truncate":                      {identity: "name", message: truncateMessage(productOID), events: 1},
		"an update of a partition":        {identity: "name", partitioned: true, message: updateMessage(productOID, row...), events: 1},
		"a delete of a partition":         {identity: "id", partitioned: true, message: deleteMessage(productOID, tupleKey, byName...), gap: "carries no value"},
		"an update with the key in place": {identity: "id", message: updateMessage(productOID, row...), events: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := product(t)
			table.Partitioned = test.partitioned
			d := NewDecoder(table, Limits{})
			var events []change.Event
			var err error
			for _, message := range [][]byte{
				beginMessage(100, 7), relationWith(productOID, test.identity, productColumns...), test.message, commitMessage(100, 200),
			} {
				var fragment change.Fragment
				if fragment, _, err = d.Decode(message); err != nil {
					break
				}
				events = append(events, fragment.Events...)
			}
			if test.gap == "" && (err != nil || len(events) != test.events) {
				t.Fatalf("%d events, %v", len(events), err)
			}
			if test.gap != "" && (fault.KindOf(err) != fault.Gap || !strings.Contains(err.Error(), test.gap) || !strings.Contains(fault.Try(err), "wal2vec init --resync")) {
				t.Errorf("%v (try: %s)", err, fault.Try(err))
			}
		})
	}
}
