package audit

import (
	"context"
	"fmt"

	"github.com/wal2vec/wal2vec/internal/change"
)

// repair has the keys read and written again, and marks the findings that are not there any more:
// repaired, or set aside where the row has a dead letter in place of a vector.
func (a *Auditor) repair(ctx context.Context, found []Finding) error {
	keys, again := make([]change.Key, len(found)), make([]suspect, len(found))
	for i, f := range found {
		keys[i], again[i] = f.Key, suspect{key: f.Key, encode: f.Kind == Differs}
	}
	if err := a.ports.Repair(ctx, keys); err != nil {
		return fmt.Errorf("repairing %d keys: %w", len(keys), err)
	}
	still, err := a.settle(ctx, again)
	if err != nil {
		return err
	}
	left := make(map[change.Key]bool, len(still))
	for _, f := range still {
		left[f.Key] = true
	}
	for i := range found {
		key := found[i].Key
		found[i].SetAside = a.refused[key]
		found[i].Repaired = !left[key] && !a.refused[key]
	}
	return nil
}
