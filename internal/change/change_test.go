package change_test

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
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
	for other, want := range map[change.Version]int{{Epoch: 2, LSN: 1}: -1, {Epoch: 1, LSN: 899}: 1, old: 0} {
		if got := old.Compare(other); got != want {
			t.Errorf("%v compared with %v: %d, want %d", old, other, got, want)
		}
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
	f("Product: {name} ({brand}) end", "(Y) end", null, v("Y"))
	f("Product: {name} ({brand}) end", "Product: X end", v("X"), null)
	f("Product: {name} ({brand}) end", "", null, null)
	f("{{{name}}}", "{x}", v("x"))
}

// TestATemplateNamesAnyColumn that PostgreSQL has.
func TestATemplateNamesAnyColumn(t *testing.T) {
	t.Parallel()
	for want, name := range map[string]string{
		"{name}": "name", "{a b}": "a b", `{"a}b"}`: "a}b", `{"{"}`: "{", `{"}}"}`: "}}", `{"{{a}}"}`: "{{a}}", `{" a "}`: " a ", `{" "}`: " ",
		`{"a""b"}`: `a"b`, `{""""}`: `"`, `{"""a"""}`: `"a"`, "{a'b}": "a'b",
	} {
		if got := change.InTemplate(name); got != want {
			t.Errorf("%q is written as %s, want %s", name, got, want)
		}
		template, err := change.ParseTemplate("x " + want + "{{{b}")
		if err != nil || !slices.Equal(template.Columns(), []string{name, "b"}) {
			t.Errorf("%s: %q, %v", want, template.Columns(), err)
		}
	}
}

func TestParseTemplateRefuses(t *testing.T) {
	for _, in := range []string{"", "no field", "{", "{}", "{a", "a}", "{a{b}}", "{ }", `{"a}`, `{"a"`, `{""}`, `{"a"b}`, `{"a" "b"}`} {
		if _, err := change.ParseTemplate(in); err == nil {
			t.Errorf("ParseTemplate(%q): want an error", in)
		}
	}
}

func TestEmptyTextAndHash(t *testing.T) {
	if change.HashText("a") == change.HashText("b") {
		t.Error("two texts have one hash")
	}
	if one, other := change.HashText("a"), change.NewDocument("a").Hash; one != other {
		t.Errorf("one text has the hashes %v and %v", one, other)
	}
}

// R2: a sink restored from a backup counts on where the lost one did; its epochs must not be the
// same.
func TestEpochsOfTwoHistoriesDiffer(t *testing.T) {
	e := change.Epoch(0).Next()
	if a, b := e.Next(), e.Next(); a == b || a.Count() != b.Count() {
		t.Fatalf("two histories after %d are %d and %d", e, a, b)
	}
}

func TestALongTextHasTheHashOfItsBytes(t *testing.T) {
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_001} {
		text := strings.Repeat("abcdefg", size/7+1)[:size]
		sum := sha256.Sum256([]byte(text))
		if got := change.HashText(text); got != change.Hash(sum[:16]) {
			t.Errorf("%d bytes: %s", size, got)
		}
	}
}

// TestALongTextIsCutForTheEncoderAlone: its hash is that of the whole, its head ends with a code
// point, and no more than the head is copied.
func TestALongTextIsCutForTheEncoderAlone(t *testing.T) {
	template, err := change.ParseTemplate(" <{a}, {b}> ")
	if err != nil {
		t.Fatal(err)
	}
	v := func(text string) change.Field { return change.Field{Text: text, State: change.FieldValue} }
	for _, c := range []struct {
		a, b string
		lost int // bytes of a code point at the cut
	}{
		{"x", strings.Repeat("b", change.MostText-5), 0}, // whole
		{"x", strings.Repeat("b", change.MostText-4), 0},
		{strings.Repeat("a", 2*change.MostText), " y ", 0},
		{strings.Repeat("a", change.MostText-1), "y", 0},
		{"x", strings.Repeat("é", change.MostText), 0},
		{"xx", strings.Repeat("é", change.MostText), 1},
		{"x", strings.Repeat("\U0001F600", change.MostText), 0},
		{"xx", strings.Repeat("\U0001F600", change.MostText), 3},
		{"xxxx", strings.Repeat("\U0001F600", change.MostText), 1},
	} {
		fields := []change.Field{v(c.a), v(c.b)}
		whole := template.Render(fields)
		if whole != "<"+c.a+", "+strings.TrimSpace(c.b)+">" {
			t.Fatalf("rendered %.20q", whole)
		}
		d, _ := template.Documents(fields)
		if len(whole) <= change.MostText {
			if d != change.NewDocument(whole) {
				t.Errorf("%.20q: %d bytes of %d are kept, hash %s", whole, len(d.Text), len(whole), d.Hash)
			}
			continue
		}
		want := change.Document{Text: whole[:change.MostText-c.lost], Hash: change.HashText(whole), Whole: len(whole)}
		if d != want {
			t.Errorf("%.20q: %d bytes of %d are kept, not %d; hash %s", whole, len(d.Text), d.Whole, len(want.Text), d.Hash)
		}
	}
}

// TestBytesThatAreNoTextAreADocumentOfTheirOwn: none is encoded, and each has a hash that tells it
// from others and from every text.
func TestBytesThatAreNoTextAreADocumentOfTheirOwn(t *testing.T) {
	template, err := change.ParseTemplate("<{a}, {b}>")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[change.Hash]bool{}
	for _, b := range []string{"\x80", "\xe9", "a\xc3", strings.Repeat("\x80", 2*change.MostText)} {
		fields := []change.Field{{Text: "x", State: change.FieldValue}, {Text: b, State: change.FieldValue}}
		d, _ := template.Documents(fields)
		if !d.Foreign || d.Text != "" || d.None() || d.Refusal() == "" || seen[d.Hash] || d.Hash == change.HashText(template.Render(fields)) {
			t.Errorf("%.20q: %+v", b, d)
		}
		seen[d.Hash] = true
	}
}

// TestARowBeyondTheLimit is judged by each template for itself, by the sum of the values that it
// names, kept or not.
func TestARowBeyondTheLimit(t *testing.T) {
	parse := func(source string) change.Template {
		t.Helper()
		template, err := change.ParseTemplate(source)
		if err != nil {
			t.Fatal(err)
		}
		return template
	}
	v := func(text string) change.Field { return change.Field{Text: text, State: change.FieldValue} }
	large := func(size uint32) change.Field { return change.Field{State: change.FieldLarge, Size: size} }
	unchanged := change.Field{State: change.FieldUnchanged}
	both := change.Join(parse("{a} {b}"), parse("{a}")).Limited(10)

	d, further := both.Documents([]change.Field{v("12345"), v("67890"), v("12345")})
	if d.Text != "12345 67890" || d.Refusal() != "" || further[0].Text != "12345" {
		t.Errorf("at the limit: %+v, %+v", d, further)
	}
	d, further = both.Documents([]change.Field{v("12345"), v("678901"), v("12345")})
	if d.Text != "" || d.None() || d.Refusal() != "row of 11 bytes is larger than stream.max_row_bytes (10)" || further[0].Text != "12345" {
		t.Errorf("beyond it: %+v, %+v", d, further)
	}
	same, _ := both.Documents([]change.Field{large(11), {}, v("x")})
	other, _ := both.Documents([]change.Field{large(12), {}, v("x")})
	if same != d || other.Hash == d.Hash || d.Hash == change.HashText("row of 11 bytes") {
		t.Errorf("the hash is not that of the length: %+v, %+v, %+v", d, same, other)
	}
	unlimited, _ := both.Limited(0).Documents([]change.Field{v("12345"), v("678901"), v("12345")})
	if unlimited.Text == "" {
		t.Errorf("without a limit: %+v", unlimited)
	}
	for _, c := range []struct {
		fields  []change.Field
		settled bool
	}{
		{[]change.Field{v("a"), {}, v("a")}, true},
		{[]change.Field{v("a"), unchanged, v("a")}, false},
		{[]change.Field{large(11), unchanged, v("a")}, false}, // the length of the row is not known
		{[]change.Field{large(11), v("b"), v("a")}, true},
		{[]change.Field{large(6), v("b"), v("a")}, false}, // it was beyond the limit together with another value
		{[]change.Field{v("a"), v("b"), large(4)}, false},
		{[]change.Field{large(6), large(6), large(11)}, true},
	} {
		if got := both.Settled(c.fields); got != c.settled {
			t.Errorf("%+v: settled is %v", c.fields, got)
		}
	}
}
