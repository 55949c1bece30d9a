package encoder

import (
	"cmp"
	"slices"
)

// limits bound the runs that a plan may hold.
type limits struct {
	// tokens and rows bound one run; a single longer text goes alone.
	tokens, rows int
	// least is the size below which work is not cut further to keep all lanes busy.
	least int
	// lanes is the number of runs at a time.
	lanes int
}

// plan packs texts into runs: each is a list of indices of ids that have one length. The longest
// runs come first, so that the last ones to end are short. When the work is less than a full run a
// lane, runs are smaller, so that all lanes have some.
func plan(ids [][]int32, l limits) [][]int {
	order := make([]int, len(ids))
	total := 0
	for i := range ids {
		order[i] = i
		total += len(ids[i])
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(ids[b]), len(ids[a])) })
	budget := min(l.tokens, max(l.least, (total+l.lanes-1)/l.lanes))
	var runs [][]int
	for start := 0; start < len(order); {
		length := len(ids[order[start]])
		end := start
		for end < len(order) && len(ids[order[end]]) == length {
			end++
		}
		most := max(1, min(l.rows, budget/max(1, length)))
		runs = appendEven(runs, order[start:end], most)
		start = end
	}
	slices.SortStableFunc(runs, func(a, b []int) int {
		return cmp.Compare(len(b)*len(ids[b[0]]), len(a)*len(ids[a[0]]))
	})
	return runs
}

// appendEven cuts texts of one length into runs of at most so many rows and of nearly one size.
func appendEven(runs [][]int, texts []int, most int) [][]int {
	count := (len(texts) + most - 1) / most
	for i := range count {
		runs = append(runs, texts[i*len(texts)/count:(i+1)*len(texts)/count])
	}
	return runs
}

// unique returns the distinct texts in order of first appearance, and the position of each text
// among them.
func unique(texts []string) (distinct []string, positions []int) {
	seen := make(map[string]int, len(texts))
	positions = make([]int, len(texts))
	for i, text := range texts {
		at, ok := seen[text]
		if !ok {
			at = len(distinct)
			seen[text] = at
			distinct = append(distinct, text)
		}
		positions[i] = at
	}
	return distinct, positions
}

// spread gives every text its vector: the first of equal texts takes the slice, the others a copy,
// because each is its owner's.
func spread(vectors [][]float32, positions []int) [][]float32 {
	out := make([][]float32, len(positions))
	taken := make([]bool, len(vectors))
	for i, at := range positions {
		if taken[at] {
			out[i] = slices.Clone(vectors[at])
			continue
		}
		taken[at] = true
		out[i] = vectors[at]
	}
	return out
}
