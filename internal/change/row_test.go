package change_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
)

func TestARowWithoutAVectorIsToldWhy(t *testing.T) {
	t.Parallel()
	if got := (change.Row{SoftDeleted: true}).WithoutVector(); got != "the row is soft-deleted" {
		t.Errorf("a deleted row: %s", got)
	}
	if got := (change.Row{}).WithoutVector(); got != "the row has no text" {
		t.Errorf("a row without a text: %s", got)
	}
}
