package change

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Field is one column value of a template in the server's text output. The zero Field is NULL.
type Field struct {
	Text  string
	State FieldState
	// Size is the length in bytes of a value that is too large to be kept; only FieldLarge has one.
	Size uint32
}

// FieldState tells a value from NULL and from a value that the log left out.
type FieldState uint8

// The states of a Field. FieldUnchanged marks a TOASTed value that an UPDATE did not touch: the log
// does not carry it, and it is not NULL. FieldUnread marks one that the log brings in a form that
// is not read. FieldLarge marks a value of a row that is larger than the template's limit: its Size
// is known, its text is not kept.
const (
	FieldNull FieldState = iota
	FieldValue
	FieldUnchanged
	FieldUnread
	FieldLarge
)

// Template renders the text of a row: literal text with column names in braces, "{name}. {brand}".
// Braces are doubled to stand for themselves; a name that holds one stands in double quotes, a
// quote in it twice: {"a}b"}. A field that is NULL or blank drops out together with its label and
// its unit, see Rule.
//
// A Template may have further templates behind it (Join): each renders a text of its own from the
// same row.
type Template struct {
	source  string
	fields  []templateField
	tail    string // the literal that ends a text, whichever fields it has
	further []Template
	// rule is by what the literals were given to the fields.
	rule int
	// limit is the most bytes of a row; zero means no limit. See Limited.
	limit int64
}

// templateField is a column with the literals that go with its value: first goes before it where no
// field before it is kept, later where one is, and after goes behind it.
type templateField struct {
	column              string
	first, later, after string
}

// The rules by which literals go with values. By RuleLabels the literal between two fields is a
// unit, which goes with the value before it, a separator, which stands between two values, and a
// label, which goes with the value behind it. By RuleLiterals, that of older versions, all of it
// goes with the value behind it, and the first value that is kept has the literal at the beginning,
// whichever that is.
const (
	RuleLiterals = 1
	RuleLabels   = 2
)

// ParseTemplate reads a template. It fails on an unclosed or empty brace and on a template without
// any field.
func ParseTemplate(source string) (Template, error) { return ParseTemplateBy(source, RuleLabels) }

// ParseTemplateBy reads a template by one of the rules; also by the older one it is the same
// Template where both give the same texts. It fails on a rule that there is none of, too.
func ParseTemplateBy(source string, rule int) (Template, error) {
	columns, literals, err := takeApart(source)
	if err != nil {
		return Template{}, err
	}
	t := Template{source: source, rule: rule}
	if !labels(columns, literals) {
		t.rule = RuleLiterals
	}
	switch {
	case rule != RuleLiterals && rule != RuleLabels:
		return Template{}, fmt.Errorf("parsing template: there is no rule %d", rule)
	case t.rule == RuleLabels:
		t.give(columns, literals)
	default:
		t.giveWhole(columns, literals)
	}
	return t, nil
}

// takeApart returns the columns of a template, and the literals before each and behind the last.
func takeApart(source string) (columns, literals []string, err error) {
	var literal strings.Builder
	for rest := source; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			literal.WriteByte(rest[0])
			rest = rest[2:]
		case rest[0] == '{':
			name, after, err := columnIn(rest)
			if err != nil {
				return nil, nil, fmt.Errorf("parsing template: %w", err)
			}
			columns, literals = append(columns, name), append(literals, literal.String())
			literal.Reset()
			rest = after
		case rest[0] == '}':
			return nil, nil, fmt.Errorf("parsing template: closing brace without an opening one before %q", rest)
		default:
			literal.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	if len(columns) == 0 {
		return nil, nil, errors.New("parsing template: it names no column")
	}
	return columns, append(literals, literal.String()), nil
}

// columnIn reads the name of a column from an opening brace on, and returns what is behind the
// closing one.
func columnIn(text string) (name, rest string, err error) {
	inside := strings.TrimLeft(text[1:], " ")
	if begun, isQuoted := strings.CutPrefix(inside, `"`); isQuoted {
		name, rest, closed := quoted(begun)
		if !closed {
			return "", "", fmt.Errorf("no closing quote after %q", text)
		}
		rest, closed = strings.CutPrefix(strings.TrimLeft(rest, " "), "}")
		if !closed {
			return "", "", fmt.Errorf("no closing brace after %q", text[:len(text)-len(rest)])
		}
		if name == "" {
			return "", "", fmt.Errorf("bad column name %q", name)
		}
		return name, rest, nil
	}
	name, rest, found := strings.Cut(text[1:], "}")
	if !found {
		return "", "", fmt.Errorf("no closing brace after %q", text)
	}
	if strings.TrimSpace(name) == "" || strings.Contains(name, "{") {
		return "", "", fmt.Errorf("bad column name %q: one that holds a brace stands in double quotes", name)
	}
	return strings.TrimSpace(name), rest, nil
}

// InTemplate writes a column as a template names it: {name}, or {"na}me"} where the name could be
// read as something else.
func InTemplate(column string) string {
	if strings.ContainsAny(column, `{}"`) || strings.TrimSpace(column) != column {
		return `{"` + strings.ReplaceAll(column, `"`, `""`) + `"}`
	}
	return "{" + column + "}"
}

// String returns the template as it was written.
func (t Template) String() string { return t.source }

// Columns returns the column names in the order of the template, then those of the further ones; a
// column may occur twice.
func (t Template) Columns() []string {
	columns := make([]string, 0, len(t.fields))
	for _, f := range t.fields {
		columns = append(columns, f.column)
	}
	for _, further := range t.further {
		columns = append(columns, further.Columns()...)
	}
	return columns
}

// Join returns the first of one or more templates with the others behind it.
func Join(templates ...Template) Template {
	joined := templates[0]
	joined.further = templates[1:]
	return joined
}

// All returns the template and those behind it, each by itself.
func (t Template) All() []Template {
	all := append([]Template{t}, t.further...)
	all[0].further = nil
	return all
}

// Rule is by what the literals of the template go with its values: RuleLiterals also where both
// rules give the same texts.
func (t Template) Rule() int { return t.rule }

// Same reports whether two templates are written alike, by one rule, and so are those behind them.
func (t Template) Same(other Template) bool {
	return t.source == other.source && t.rule == other.rule && slices.EqualFunc(t.further, other.further, Template.Same)
}
