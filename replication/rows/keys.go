package rows

import (
	"context"
	"fmt"
	"slices"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// KeyReader reads the rows of some keys in chunks, as a Reader reads a table.
type KeyReader struct {
	*Reader
	keys []change.Key
}

// Keys returns a reader of the rows with these keys. Its chunks are in the byte order of the keys,
// each once.
func (r *Reader) Keys(keys []change.Key) *KeyReader {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	return &KeyReader{Reader: r, keys: slices.Compact(keys)}
}

// Chunk reads the rows of up to limit keys that come after a key, or of the first ones when that is
// empty. Keys without a row are in the chunk's Gone.
func (k *KeyReader) Chunk(ctx context.Context, after change.Key, limit int) (protocol.RowChunk, error) {
	first := 0
	if after != "" {
		at, found := slices.BinarySearch(k.keys, after)
		if first = at; found {
			first++
		}
	}
	last := min(first+limit, len(k.keys))
	keys := k.keys[first:last]
	rows, session, err := k.rowsAndSession(ctx, keys)
	if err != nil {
		return protocol.RowChunk{}, err
	}
	end := len(keys) // a postponed row and what comes behind it are the next chunk's
	for _, row := range rows {
		if at, found := slices.BinarySearch(keys, row.Key); row.Postponed && found {
			end = min(end, at)
		}
	}
	rows = slices.DeleteFunc(rows, func(row change.Row) bool {
		_, later := slices.BinarySearch(keys[end:], row.Key)
		return later
	})
	keys = keys[:end]
	c := protocol.RowChunk{Rows: rows, Done: first+len(keys) == len(k.keys), Session: session}
	if len(keys) > 0 {
		c.Last = keys[len(keys)-1]
	}
	// Should that connection be another, then the one that read the rows is gone, which Alive
	// tells.
	if c.High, _, err = k.insertPosition(ctx); err != nil {
		return protocol.RowChunk{}, err
	}
	there := make(map[change.Key]struct{}, len(rows))
	for _, row := range rows {
		there[row.Key] = struct{}{}
	}
	for _, key := range keys {
		if _, found := there[key]; !found {
			c.Gone = append(c.Gone, key)
		}
	}
	if len(rows)+len(c.Gone) != len(keys) {
		return protocol.RowChunk{}, fmt.Errorf("reading rows of %s by key: %d keys have %d rows, and %d have none",
			k.name(), len(keys), len(rows), len(c.Gone))
	}
	return c, nil
}
