package rows

import (
	"slices"
	"strings"
)

// Filter is a condition on a column of the source table.
type Filter struct {
	Column   string
	Operator string // =, <>, <, <=, >, >=, LIKE, ILIKE, IS NULL or IS NOT NULL
	Value    string // as the column's type reads it; unused by the last two
}

// comparisons are the operators that compare with a value in the order of the column's type, one
// that begins like another before it; filterOperators are all that a Filter may have, and valueless
// those that take no value.
var (
	comparisons     = []string{"<=", ">=", "<>", "=", "<", ">"}
	filterOperators = append(slices.Clip(comparisons), "LIKE", "ILIKE", "IS NULL", "IS NOT NULL")
	valueless       = []string{"IS NULL", "IS NOT NULL"}
)

// ParseFilter reads COLUMN OPERATOR VALUE, with a comparison, and splits at the first of these. !=
// is read as <>.
func ParseFilter(text string) (Filter, bool) {
	at := strings.IndexAny(text, "<>=!")
	if at < 1 {
		return Filter{}, false
	}
	column := strings.TrimSpace(text[:at])
	if value, found := strings.CutPrefix(text[at:], "!="); found {
		return Filter{Column: column, Operator: "<>", Value: strings.TrimSpace(value)}, column != ""
	}
	for _, operator := range comparisons {
		if value, found := strings.CutPrefix(text[at:], operator); found {
			return Filter{Column: column, Operator: operator, Value: strings.TrimSpace(value)}, column != ""
		}
	}
	return Filter{}, false
}
