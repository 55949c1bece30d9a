package demodata

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestSameSeedGivesSameProducts(t *testing.T) {
	t.Parallel()
	first := slices.Collect(Generate(7, 500))
	if !slices.Equal(first, slices.Collect(Generate(7, 500))) {
		t.Error("two runs of one seed differ")
	}
	if first[41] != At(7, 42) || first[41].ID != 42 {
		t.Errorf("product 42 is %+v alone, %+v in order", At(7, 42), first[41])
	}
	if slices.Equal(first, slices.Collect(Generate(8, 500))) {
		t.Error("two seeds give the same products")
	}
	for range Generate(7, 500) {
		break // must not panic
	}
}

// TestGoldenProduct holds the generator still: a change of its texts makes earlier measurements
// incomparable, so make it knowingly.
func TestGoldenProduct(t *testing.T) {
	t.Parallel()
	const want = "379.90 Anvor Easy-pitch Dome Tent, Sun Yellow. Ulvova. Tents. Easy-pitch dome tent built for windy nights above the tree line. Made with campers in mind."
	if got := At(1, 1).Price() + " " + At(1, 1).Text(); got != want {
		t.Errorf("the first product is\n%s\nwant\n%s", got, want)
	}
}

func TestManyProductsAreDistinct(t *testing.T) {
	t.Parallel()
	const rows = 275_000
	type title struct{ name, brand string }
	titles, names := map[title]bool{}, map[string]bool{}
	brands, categories := map[string]bool{}, map[string]bool{}
	for id := range int64(rows) {
		c, n := identity(1, id+1)
		titles[title{n.text, n.brand}] = true
		names[n.text] = true
		brands[n.brand] = true
		categories[c.title] = true
	}
	f := func(what string, got, want int) {
		t.Helper()
		if got < want {
			t.Errorf("%d distinct %s, want at least %d", got, what, want)
		}
	}
	f("names with brands", len(titles), rows)
	f("names", len(names), 100_000)
	f("brands", len(brands), 400)
	f("categories", len(categories), 60)
}

func TestScatterIsAPermutation(t *testing.T) {
	t.Parallel()
	for _, size := range []uint64{1, 2, 7, 96, 1000} {
		seen := map[uint64]bool{}
		for i := range size {
			seen[scatter(i, size, 12345)] = true
		}
		if uint64(len(seen)) != size {
			t.Errorf("of %d numbers only %d are hit", size, len(seen))
		}
	}
}

// TestTextsSpreadOverTheirRange counts words: measured against the vocabulary of all-MiniLM-L6-v2,
// a text has 1.5 times as many word pieces, and these bounds are those of 20 to 100 pieces.
func TestTextsSpreadOverTheirRange(t *testing.T) {
	t.Parallel()
	var lengths []int
	for p := range Generate(3, 10_000) {
		lengths = append(lengths, len(strings.Fields(p.Text())))
	}
	slices.Sort(lengths)
	if low, high := lengths[0], lengths[len(lengths)-1]; low < 12 || low > 16 || high < 58 || high > 64 {
		t.Errorf("from %d to %d words", low, high)
	}
	quarter, half, most := lengths[2500], lengths[5000], lengths[7500]
	if quarter > 32 || half < 30 || half > 45 || most < 44 {
		t.Errorf("quartiles at %d, %d and %d words", quarter, half, most)
	}
}

func TestDescriptionsReadWell(t *testing.T) {
	t.Parallel()
	for p := range Generate(5, 20_000) {
		for _, bad := range []string{"{", "}", "  ", "..", " .", " ,", ";"} {
			if strings.Contains(p.Text(), bad) {
				t.Fatalf("%q in %q", bad, p.Text())
			}
		}
		words := strings.Fields(strings.ToLower(p.Description))
		for i := 1; i < len(words); i++ {
			if words[i] == words[i-1] {
				t.Fatalf("%q twice in %q", words[i], p.Description)
			}
		}
		if !strings.HasSuffix(p.Description, ".") {
			t.Fatalf("no full stop: %q", p.Description)
		}
		for sentence := range strings.SplitSeq(strings.TrimSuffix(p.Description, "."), ". ") {
			if first := sentence[:1]; first != strings.ToUpper(first) {
				t.Fatalf("%q begins small in %q", sentence, p.Description)
			}
		}
	}
}

func TestCatalogueIsComplete(t *testing.T) {
	t.Parallel()
	titles := map[string]bool{}
	for _, c := range catalogue() {
		if titles[c.title] {
			t.Errorf("%s comes twice", c.title)
		}
		titles[c.title] = true
		f := func(what string, got []string, want int) {
			t.Helper()
			if len(got) < want {
				t.Errorf("%s has %d %s, want %d", c.title, len(got), what, want)
			}
			sorted := slices.Sorted(slices.Values(got))
			if len(slices.Compact(sorted)) != len(got) {
				t.Errorf("%s has the same %s twice", c.title, what)
			}
		}
		f("nouns", c.nouns, 4)
		f("kinds", c.kinds, 6)
		f("materials", c.materials, 4)
		f("features", c.features, 8)
		f("uses", c.uses, 6)
		f("people", c.people, 3)
		f("extras", c.extras, 3)
		f("variants", c.variants, 6)
		f("brands", c.brands, 24)
		for _, kind := range c.kinds {
			for _, noun := range c.nouns {
				if strings.HasSuffix("-"+kind, "-"+strings.Fields(noun)[0]) {
					t.Errorf("%s: %q before %q", c.title, kind, noun)
				}
			}
		}
		if c.ask == "" || c.cheapest < 1 || c.dearest <= c.cheapest {
			t.Errorf("%s: ask %q, price %d-%d", c.title, c.ask, c.cheapest, c.dearest)
		}
	}
	for _, title := range usedUp {
		if !titles[title] {
			t.Errorf("%s is used up, but no category", title)
		}
	}
	if got := Searches(); len(got) != len(titles) || got[0].Category != catalogue()[0].title || got[0].Text == "" {
		t.Errorf("%d searches for %d categories", len(got), len(titles))
	}
	if len(slices.Compact(slices.Sorted(slices.Values(series)))) != len(series) {
		t.Error("a series comes twice")
	}
}

func TestEditChangesTheDescriptionOnly(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for p := range Generate(9, 300) {
		edited := Edit(p, rng)
		if edited.Description == p.Description {
			t.Fatalf("unchanged: %+v", p)
		}
		edited.Description = p.Description
		if edited != p {
			t.Fatalf("%+v became %+v", p, edited)
		}
	}
	strange := Product{Category: "Spaceships", Description: "Fast."}
	if Edit(strange, rng).Description == strange.Description {
		t.Error("a product of an unknown category stays as it is")
	}
}

func BenchmarkAt(b *testing.B) {
	b.ReportAllocs()
	id := int64(0)
	for b.Loop() {
		id++
		At(1, id)
	}
}
