package config

import "strings"

// didYouMean returns "; did you mean X?" for the candidate next to a misspelt name, or "".
func didYouMean(name string, candidates []string) string {
	best, distance := "", max(2, len(name)/4)+1
	for _, candidate := range candidates {
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		best = sameEnding(name, candidates)
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// sameEnding finds the setting that somebody wrote in the wrong section, or without one.
func sameEnding(path string, candidates []string) string {
	leaf := path[strings.LastIndexByte(path, '.')+1:]
	for _, candidate := range candidates {
		if strings.HasSuffix(candidate, "."+leaf) {
			return candidate
		}
	}
	return ""
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours that turn a
// into b.
func editDistance(a, b string) int {
	before, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
