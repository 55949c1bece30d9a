package demodata

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed catalogue.txt
var text string

// category is a paragraph of catalogue.txt, which explains the fields.
type category struct {
	title             string
	department        string
	cheapest, dearest int64 // whole units of money
	nouns             []string
	kinds             []string
	materials         []string
	features          []string
	uses              []string
	people            []string
	extras            []string
	ask               string
	variants          []string
	brands            []string
}

// catalogue returns the categories in the order of the file. It panics on a file that cannot be
// read: the file is part of the program, and a test reads it.
var catalogue = sync.OnceValue(func() []*category {
	var all []*category
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if c := parse(paragraph); c != nil {
			all = append(all, c)
		}
	}
	nameBrands(all)
	return all
})

// parse reads one paragraph, nil for one of comments only.
func parse(paragraph string) *category {
	fields := map[string]string{}
	for line := range strings.Lines(paragraph) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			panic(fmt.Sprintf("products: line %q is not a field", line))
		}
		fields[name] = value
	}
	if len(fields) == 0 {
		return nil
	}
	list := func(name string) []string {
		values := strings.Split(fields[name], "; ")
		if fields[name] == "" {
			panic(fmt.Sprintf("products: category %q has no %s", fields["category"], name))
		}
		return values
	}
	c := &category{
		title:      fields["category"],
		department: fields["department"],
		nouns:      list("noun"),
		kinds:      list("kind"),
		materials:  list("made"),
		features:   list("has"),
		uses:       list("for"),
		people:     list("who"),
		extras:     list("with"),
		ask:        fields["ask"],
		variants:   list("colour"),
	}
	if fields["colour"] == "yes" {
		c.variants = colours
	}
	if _, err := fmt.Sscanf(fields["price"], "%d-%d", &c.cheapest, &c.dearest); err != nil {
		panic(fmt.Sprintf("products: category %q: reading the price: %v", c.title, err))
	}
	return c
}

// nameBrands gives each department its own brands, and each category its department's: head k with
// a tail that shifts from one department to the next, so that no brand sells both tents and tea.
func nameBrands(all []*category) {
	var departments []string
	for _, c := range all {
		place := slices.Index(departments, c.department)
		if place < 0 {
			place = len(departments)
			departments = append(departments, c.department)
		}
		for k, head := range brandHeads {
			c.brands = append(c.brands, head+brandTails[(k+place)%len(brandTails)])
		}
	}
	if len(departments) > len(brandTails) {
		panic("products: more departments than tails of brands")
	}
}

// named is one of a category's names.
type named struct {
	text, brand, kind, noun string
}

// names returns how many names with brands the category has.
func (c *category) names() uint64 {
	return uint64(len(c.nouns) * len(c.kinds) * len(c.variants) * len(c.brands) * len(series))
}

// name returns the name number i.
func (c *category) name(i uint64) named {
	digit := func(values []string) string {
		value := values[i%uint64(len(values))]
		i /= uint64(len(values))
		return value
	}
	n := named{noun: digit(c.nouns), kind: digit(c.kinds), brand: digit(c.brands)}
	variant, model := digit(c.variants), digit(series)
	n.text = model + " " + titleCase(n.kind+" "+n.noun) + ", " + variant
	return n
}

// titleCase capitalises words, except those that a heading leaves small.
func titleCase(phrase string) string {
	words := strings.Fields(phrase)
	for i, word := range words {
		if !slices.Contains([]string{"a", "and", "for", "in", "of", "the", "to", "with"}, word) {
			words[i] = capital(word)
		}
	}
	return strings.Join(words, " ")
}

// capital makes the first letter a capital.
func capital(phrase string) string {
	if phrase == "" {
		return ""
	}
	return strings.ToUpper(phrase[:1]) + phrase[1:]
}
