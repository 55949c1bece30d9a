package encodertest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/wal2vec/wal2vec/encoder/encodertest"
)

func TestFakeConforms(t *testing.T) {
	encodertest.Conformance(t, func(*testing.T) encodertest.Encoder { return encodertest.NewFake(384) })
}

func TestFakeIsTheSameInEveryProcess(t *testing.T) {
	if v := encodertest.Vector("text", 2); v[0] != -0.17450623 || v[1] != 0.9846561 {
		t.Errorf("the vector moved to %v", v)
	}
}

func TestFakeCallsItsHook(t *testing.T) {
	f := encodertest.NewFake(3)
	wrong := errors.New("wrong")
	var seen []string
	f.Hook(func(_ context.Context, texts []string) error { seen = texts; return wrong })
	if _, err := f.Encode(t.Context(), []string{"a", "b"}); !errors.Is(err, wrong) || len(seen) != 2 {
		t.Errorf("%v, the hook saw %q", err, seen)
	}
	f.Hook(nil)
	if _, err := f.Encode(t.Context(), []string{"a"}); err != nil {
		t.Errorf("without a hook: %v", err)
	}
}

func BenchmarkFake(b *testing.B) {
	f := encodertest.NewFake(384)
	texts := []string{"one text"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Encode(b.Context(), texts); err != nil {
			b.Fatal(err)
		}
	}
}
