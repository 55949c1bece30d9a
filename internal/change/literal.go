package change

import (
	"slices"
	"strings"
	"unicode"
)

// literalParts are those of a literal between two values; each may be empty. The unit is what
// stands directly behind the first value ("kg", ")"), the separator what follows of white space and
// punctuation (". ", " - "), and the label the rest ("Brand: ", "("). A literal without any
// separator is one itself ("x"), since nothing tells to which value it belongs.
type literalParts struct{ unit, separator, label string }

func partsOf(literal string) literalParts {
	at := strings.IndexFunc(literal, separates)
	if at < 0 {
		return literalParts{separator: literal}
	}
	rest := strings.TrimLeftFunc(literal[at:], separates)
	return literalParts{unit: literal[:at], separator: literal[at : len(literal)-len(rest)], label: rest}
}

// endOf parts the literal behind the last value into its unit and the tail.
func endOf(literal string) (unit, tail string) {
	if at := strings.IndexFunc(literal, separates); at >= 0 {
		return literal[:at], literal[at:]
	}
	return literal, ""
}

// separates is true for white space and punctuation; not for letters and digits, and not for what
// is written close to a value: brackets, quotes, and signs like %, # and $.
func separates(r rune) bool {
	switch {
	case strings.ContainsRune(`"'#%@§¶`, r):
		return false
	case unicode.IsSpace(r), unicode.IsControl(r):
		return true
	default:
		return unicode.In(r, unicode.Po, unicode.Pd, unicode.Pc, unicode.Sm, unicode.Sk)
	}
}

// labels reports whether the two rules may give different texts: some value has a label or a unit,
// and may be missing beside another.
func labels(columns, literals []string) bool {
	if !slices.ContainsFunc(columns, func(column string) bool { return column != columns[0] }) {
		return false
	}
	last := len(literals) - 1
	if unit, _ := endOf(literals[last]); unit != "" || strings.TrimSpace(literals[0]) != "" {
		return true
	}
	return slices.ContainsFunc(literals[1:last], func(literal string) bool {
		parts := partsOf(literal)
		return parts.unit != "" || parts.label != ""
	})
}

// give gives the literals to the fields by RuleLabels.
func (t *Template) give(columns, literals []string) {
	label, later := strings.TrimLeftFunc(literals[0], unicode.IsSpace), literals[0]
	for i, column := range columns {
		field := templateField{column: column, first: label, later: later}
		if next := literals[i+1]; i == len(columns)-1 {
			field.after, t.tail = endOf(next)
		} else {
			parts := partsOf(next)
			field.after, label, later = parts.unit, parts.label, parts.separator+parts.label
		}
		t.fields = append(t.fields, field)
	}
	t.tail = strings.TrimRightFunc(t.tail, unicode.IsSpace)
}

// giveWhole gives the literals to the fields by RuleLiterals.
func (t *Template) giveWhole(columns, literals []string) {
	leading := strings.TrimLeftFunc(literals[0], unicode.IsSpace)
	for i, column := range columns {
		t.fields = append(t.fields, templateField{column: column, first: leading, later: literals[i]})
	}
	t.tail = strings.TrimRightFunc(literals[len(columns)], unicode.IsSpace)
}

// Omission is a part of a template that a row's text lacks, since its column has no value.
type Omission struct {
	Column string `json:"column"`
	// Text is the column in braces, with the literals that are left out with it.
	Text string `json:"text"`
}

// Omissions returns the columns without a value, separators aside, in the order of the template
// alone. fields are those of Render; the rule is RuleLabels, or gives the same texts.
func (t Template) Omissions(fields []Field) []Omission {
	var left []Omission
	for i, f := range t.fields {
		if fields[i].State == FieldNull || fields[i].State == FieldValue && strings.TrimSpace(fields[i].Text) == "" {
			left = append(left, Omission{Column: f.column, Text: f.first + "{" + f.column + "}" + f.after})
		}
	}
	return left
}
