package demodata

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
)

// Product is a row of the mart.
type Product struct {
	ID          int64 // from 1
	Name        string
	Brand       string
	Category    string
	Description string
	PriceCents  int64
}

// Price returns the price as a decimal number, such as "129.90".
func (p Product) Price() string { return fmt.Sprintf("%d.%02d", p.PriceCents/100, p.PriceCents%100) }

// Text returns the product as the default template renders it.
func (p Product) Text() string {
	return p.Name + ". " + p.Brand + ". " + p.Category + ". " + p.Description
}

// Generate yields the products 1 to n of a seed.
func Generate(seed uint64, n int) iter.Seq[Product] {
	return func(yield func(Product) bool) {
		for id := int64(1); id <= int64(n); id++ {
			if !yield(At(seed, id)) {
				return
			}
		}
	}
}

// At returns the product with an id, from 1, of a seed. Neighbouring ids are of different
// categories. Within a seed no two products of the first 30 million share name and brand.
func At(seed uint64, id int64) Product {
	c, n := identity(seed, id)
	rng := rand.New(rand.NewPCG(seed, uint64(id))) //nolint:gosec // the same products in every run
	return Product{
		ID:          id,
		Name:        n.text,
		Brand:       n.brand,
		Category:    c.title,
		Description: describe(c, rng, n.kind, n.noun),
		PriceCents:  c.price(rng),
	}
}

// identity returns a product's category and name.
func identity(seed uint64, id int64) (*category, named) {
	all := catalogue()
	index, count := uint64(id-1), uint64(len(all)) //nolint:gosec // products are counted from 1
	place := (index + seed) % count
	c := all[place]
	return c, c.name(scatter(index/count, c.names(), seed*count+place))
}

// Edit returns the product with another description: other features, uses and materials of the same
// thing.
func Edit(p Product, rng *rand.Rand) Product {
	for _, c := range catalogue() {
		if c.title != p.Category {
			continue
		}
		before := p.Description
		for p.Description == before {
			p.Description = describe(c, rng, pick(rng, c.kinds), pick(rng, c.nouns))
		}
		return p
	}
	p.Description += " New edition." // a category of somebody else's
	return p
}

// Search is a question that products of a category should answer.
type Search struct {
	Text     string
	Category string
}

// Searches returns one question a category, in an order that never changes.
func Searches() []Search {
	all := catalogue()
	searches := make([]Search, 0, len(all))
	for _, c := range all {
		searches = append(searches, Search{Text: c.ask, Category: c.title})
	}
	return searches
}

// scatter maps 0 to size-1 onto itself, neighbours far apart; the offset shifts the result.
func scatter(i, size, offset uint64) uint64 {
	// A step of the golden ratio spreads any number of first values evenly.
	step := uint64(float64(size) * 0.6180339887)
	for gcd(step, size) != 1 {
		step++
	}
	return (i%size*step + offset*0x9e3779b97f4a7c15>>20) % size
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// price draws from the category's range, cheap ones more often, and rounds as shops do.
func (c *category) price(rng *rand.Rand) int64 {
	low, high := float64(c.cheapest), float64(c.dearest)
	units := int64(low * math.Pow(high/low, rng.Float64()))
	return units*100 + pick(rng, []int64{0, 49, 90, 95, 99})
}
