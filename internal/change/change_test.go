package change_test

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/change"
)

func TestLSNSurvivesItsTextForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := change.LSN(rapid.Uint64().Draw(t, "lsn"))
		got, err := change.ParseLSN(want.String())
		if err != nil || got != want {
			t.Fatalf("ParseLSN(%s) = %s, %v", want, got, err)
		}
	})
}

func TestLSNIsAStringInJSON(t *testing.T) {
	out, err := json.Marshal(struct {
		W change.LSN `json:"w"`
	}{0x16B374D848})
	if err != nil || string(out) != `{"w":"16/B374D848"}` {
		t.Fatalf("got %s, %v", out, err)
	}
}

func TestParseLSNRefuses(t *testing.T) {
	for _, in := range []string{"", "12", "/", "1/", "/1", "x/1", "1/100000000", "1/1/1", "-1/1"} {
		if lsn, err := change.ParseLSN(in); err == nil {
			t.Errorf("ParseLSN(%q) = %s, want an error", in, lsn)
		}
	}
}

func TestRecordEndStepsBackOverPageHeadersOnly(t *testing.T) {
	f := func(in, want change.LSN) {
		t.Helper()
		if got := in.RecordEnd(); got != want {
			t.Errorf("RecordEnd(%s) = %s, want %s", in, got, want)
		}
	}
	f(0x3000000+24, 0x3000000)
	f(0x3000000+40, 0x3000000)
	f(0x3002000+24, 0x3002000)
	f(0x3002000, 0x3002000)
	f(0x3002000+56, 0x3002000+56)
}

func TestEpochsRise(t *testing.T) {
	e := change.Epoch(0).Next()
	for range 100 {
		next := e.Next()
		if next <= e || next.Count() != e.Count()+1 {
			t.Fatalf("%d after %d", next, e)
		}
		e = next
	}
}

func TestVersionOrder(t *testing.T) {
	old := change.Version{Epoch: 1, LSN: 900}
	if old.Compare(change.Version{Epoch: 2, LSN: 1}) != -1 || old.Compare(change.Version{Epoch: 1, LSN: 899}) != 1 || old.Compare(old) != 0 {
		t.Fatal("versions are not ordered by epoch, then LSN")
	}
}

func TestKeyKeepsItsParts(t *testing.T) {
	k := change.KeyOf("1", "", "a,b")
	if parts := k.Parts(); len(parts) != 3 || parts[0] != "1" || parts[1] != "" || parts[2] != "a,b" {
		t.Fatalf("got %q", parts)
	}
}

func TestTemplateRender(t *testing.T) {
	null := change.Field{}
	v := func(s string) change.Field { return change.Field{Text: s, State: change.FieldValue} }
	f := func(template, want string, fields ...change.Field) {
		t.Helper()
		tmpl, err := change.ParseTemplate(template)
		if err != nil {
			t.Fatal(err)
		}
		if got := tmpl.Render(fields); got != want {
			t.Errorf("%q with %v = %q, want %q", template, fields, got, want)
		}
	}
	const product = "{name}. {brand}. {category}. {description}"
	f(product, "A. B. C. D", v("A"), v("B"), v("C"), v("D"))
	f(product, "A. C. D", v("A"), null, v("C"), v("D"))
	f(product, "B. D", null, v(" B "), v("\n"), v("D"))
	f(product, "A. B. C", v("A"), v("B"), v("C"), null)
	f(product, "", null, v(""), null, v("  "))
	f("Product: {name} ({brand}) end", "Product: X (Y) end", v("X"), v("Y"))
	f("Product: {name} ({brand}) end", "Product: Y) end", null, v("Y"))
	f("Product: {name} ({brand}) end", "", null, null)
	f("{{{name}}}", "{x}", v("x"))
}

func TestParseTemplateRefuses(t *testing.T) {
	for _, in := range []string{"", "no field", "{", "{}", "{a", "a}", "{a{b}}", "{ }"} {
		if _, err := change.ParseTemplate(in); err == nil {
			t.Errorf("ParseTemplate(%q): want an error", in)
		}
	}
}

func TestEmptyTextAndHash(t *testing.T) {
	if change.HashText("a") == change.HashText("b") || change.HashText("a") != change.NewDocument("a").Hash {
		t.Fatal("hash is not a function of the text")
	}
}

// R2: a sink restored from a backup counts on where the lost one did; its epochs must not be the same.
func TestEpochsOfTwoHistoriesDiffer(t *testing.T) {
	e := change.Epoch(0).Next()
	if a, b := e.Next(), e.Next(); a == b || a.Count() != b.Count() {
		t.Fatalf("two histories after %d are %d and %d", e, a, b)
	}
}
