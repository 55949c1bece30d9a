package demodata

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// Descriptions have between fewestWords and mostWords words, evenly spread: with name, brand and
// category that is 20 to 100 word pieces of a BERT vocabulary.
const (
	fewestWords = 7
	mostWords   = 50
)

// describe writes a description of a kind of noun.
func describe(c *category, rng *rand.Rand, kind, noun string) string {
	slots := newSlots(c, rng, kind, noun)
	goal := fewestWords + rng.IntN(mostWords-fewestWords+1)
	var written []string
	words := 0
	add := func(template string) {
		if sentence, ok := slots.fill(template, mostWords-words); ok {
			written = append(written, sentence)
			words += len(strings.Fields(sentence))
		}
	}
	several := func(templates []string, goal int) {
		for _, i := range rng.Perm(len(templates)) {
			if words >= goal {
				return
			}
			add(templates[i])
		}
	}
	closing := closings
	if slices.Contains(usedUp, c.title) {
		closing = freshClosings
	}
	const closingWords = 5
	add(pick(rng, openings))
	several(sentences, goal-closingWords*rng.IntN(3))
	several(closing, goal)
	return strings.Join(written, " ")
}

// slots hands out a category's phrases in random order, none twice.
type slots map[string][]string

func newSlots(c *category, rng *rand.Rand, kind, noun string) slots {
	shuffled := func(values []string) []string {
		values = slices.Clone(values)
		rng.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
		return values
	}
	return slots{
		"kind": {kind},
		"noun": {noun},
		"made": {pick(rng, c.materials)}, // two materials would contradict each other
		"has":  shuffled(c.features),
		"for":  shuffled(c.uses),
		"who":  shuffled(c.people),
		"with": shuffled(c.extras),
	}
}

// fill replaces the slots of a template; false, with nothing used up, if phrases run out or the
// sentence gets longer than words.
func (s slots) fill(template string, words int) (string, bool) {
	used := map[string]int{}
	var b strings.Builder
	for rest := template; rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		b.WriteString(before)
		if !found {
			break
		}
		slot, tail, _ := strings.Cut(after, "}")
		if used[slot] >= len(s[slot]) {
			return "", false
		}
		b.WriteString(s[slot][used[slot]])
		used[slot]++
		rest = tail
	}
	if len(strings.Fields(b.String())) > words {
		return "", false
	}
	for slot, n := range used {
		s[slot] = s[slot][n:]
	}
	return capital(b.String()), true
}
