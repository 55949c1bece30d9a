package pipeline_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// TestNoPartOfALargeTextIsRepeated: it is compared in parts, and what lies over their ends is
// found, too.
func TestNoPartOfALargeTextIsRepeated(t *testing.T) {
	var text strings.Builder
	random := rand.New(rand.NewPCG(1, 2))
	for text.Len() < change.MostText-100 {
		text.WriteByte('a' + byte(random.IntN(26)))
	}
	large := text.String()
	for _, at := range []int{0, 64<<10 - 10, 64 << 10, 128<<10 - 9, 500_003, len(large) - 20} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			quoted := large[at : at+20]
			w.onEncode = func(_ context.Context, texts []string) error {
				if slices.Contains(texts, large) {
					return fmt.Errorf("cannot encode %q", quoted)
				}
				return nil
			}
			r := w.start(settings(t))
			w.write(tx(200, put("a", large), put("b", "other")))
			pass(5 * time.Second)
			w.halt(r)
			if reason := w.letters["a"]; !strings.Contains(reason, "withheld") || w.vectors["b"] == (change.Hash{}) {
				t.Errorf("quoting at %d: letters %q", at, w.letters)
			}
		})
	}
}
