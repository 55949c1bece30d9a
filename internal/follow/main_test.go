package follow

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Run(m) }
