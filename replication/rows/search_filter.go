package rows

import (
	"slices"
	"strconv"
	"strings"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sql"
)

// Filter is a condition of a search on a column of the source table.
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

// fetchStatement renders a statement and the parameters behind those of the keys.
func (r *Reader) fetchStatement(k keyed, columns []string, filters []Filter) (string, [][]byte, error) {
	data := struct {
		keyed
		Key, Names, Columns, Filters []string
		Texts                        []bool
		Most                         int64
	}{keyed: k, Key: r.row.Key, Names: r.row.ordinals(), Most: r.row.limit}
	for _, c := range columns {
		data.Columns = append(data.Columns, quote(c))
		data.Texts = append(data.Texts, r.types[c] == "text")
	}
	var params [][]byte
	for _, f := range filters {
		n := slices.Index(filterOperators, f.Operator)
		if n < 0 {
			return "", nil, fault.New(fault.Usage, "use one of =, <>, <, <=, >, >=, LIKE, ILIKE, IS NULL, IS NOT NULL",
				"%q is not an operator of a filter", f.Operator)
		}
		condition := "t." + quote(f.Column) + " " + filterOperators[n] // our text, not the caller's
		if !slices.Contains(valueless, f.Operator) {
			params = append(params, []byte(f.Value))
			var err error
			if condition, err = r.filterCondition(f.Column, filterOperators[n], len(r.row.Key)+len(params)); err != nil {
				return "", nil, err
			}
		}
		data.Filters = append(data.Filters, condition)
	}
	statement, err := sql.Render("source_rows", data)
	return statement, params, err
}

// enumComparisons are the functions of comparisons: unlike for an operator, the server looks for no
// cast that another role made.
var enumComparisons = map[string]string{"=": "enum_eq", "<>": "enum_ne", "<": "enum_lt", "<=": "enum_le", ">": "enum_gt", ">=": "enum_ge"}

// filterCondition compares a column with a parameter. Values of another role's types are compared
// by their text, enums in their order.
func (r *Reader) filterCondition(column, operator string, number int) (string, error) {
	name, parameter := "t."+quote(column), "$"+strconv.Itoa(number)
	kind := r.types[column]
	compares, ordered := enumComparisons[operator]
	switch {
	case r.opts.TrustOwner || kind != "enum" && kind != "foreign":
		return name + " " + operator + " " + parameter, nil
	case kind == "enum" && ordered:
		return "pg_catalog." + compares + "(" + name + ", " + parameter + ")", nil
	case ordered && operator != "=" && operator != "<>":
		return "", fault.New(fault.Usage, "compare with = or <>, or set source.trust_owner: true",
			"column %s of %s is of a type of another role, whose functions a comparison by %s may call", column, r.name(), operator)
	default:
		return "CASE WHEN " + name + " IS DISTINCT FROM NULL THEN pg_catalog.format('%s', " + name + ") END " + operator + " " + parameter, nil
	}
}
