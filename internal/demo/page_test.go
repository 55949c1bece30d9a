package demo

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestGroupedPutsCommasBetweenThousands(t *testing.T) {
	t.Parallel()
	f := func(n int64, want string) {
		t.Helper()
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
	f(0, "0")
	f(999, "999")
	f(1000, "1,000")
	f(123456, "123,456")
	f(1234567, "1,234,567")
	f(-1234, "-1,234")
	f(-123, "-123")
}

func TestIndentedIndentsEachLineOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := &indented{out: &out}
	for _, part := range []string{"a", "b\nc\n", "\n", "d"} {
		if n, err := fmt.Fprint(w, part); n != len(part) || err != nil {
			t.Fatalf("writing %q: %d, %v", part, n, err)
		}
	}
	if want := "   ab\n   c\n\n   d"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestPageKeepsItsFirstError(t *testing.T) {
	t.Parallel()
	p := page{out: closedPipe{}}
	p.stepf("one")
	p.notef("two")
	if p.err == nil || !strings.Contains(p.err.Error(), "broken pipe") {
		t.Errorf("got %v", p.err)
	}
}
