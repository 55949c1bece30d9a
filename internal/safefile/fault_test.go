package safefile_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// TestAFindingIsAFaultWithItsAdvice: what is no finding about other accounts stays what it is.
func TestAFindingIsAFaultWithItsAdvice(t *testing.T) {
	t.Parallel()
	found := &safefile.Error{Path: "/a", Why: "may be written by every account", Try: "chmod go-w /a"}
	for instead, try := range map[string]string{"": "chmod go-w /a", "name another file": "name another file; or chmod go-w /a"} {
		err := safefile.Fault(fmt.Errorf("looking: %w", found), instead, "file %d is not read", 1)
		if fault.KindOf(err) != fault.Usage || fault.Try(err) != try || !errors.Is(err, found) ||
			err.Error() != `file 1 is not read: looking: "/a" may be written by every account` {
			t.Errorf("%q: kind %v, %v (%s)", instead, fault.KindOf(err), err, fault.Try(err))
		}
	}
	other := errors.New("other")
	if got := safefile.Fault(other, "x", "y"); got != other { //nolint:errorlint // the error itself
		t.Error(got)
	}
	if got := safefile.Fault(nil, "x", "y"); got != nil {
		t.Error(got)
	}
}
