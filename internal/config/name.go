package config

import (
	"errors"
	"fmt"
	"strings"
)

// maxNameBytes is Postgres' limit for a name; a longer one would be cut silently and meet another
// object.
const maxNameBytes = 63

// Name is the name of a table or view with its schema, as the catalogue spells both.
type Name struct {
	Schema string
	Name   string
}

// ParseName reads schema.name as SQL does: a part in double quotes is taken as it is, any other is
// folded to lower case.
func ParseName(text string) (Name, error) {
	schema, rest, err := cutIdentifier(strings.TrimSpace(text))
	if err != nil {
		return Name{}, err
	}
	if rest == "" {
		return Name{}, fmt.Errorf("name the schema too, as in %s", Name{Schema: "public", Name: schema})
	}
	if rest[0] != '.' {
		return Name{}, fmt.Errorf("unexpected %q: write schema.name, with double quotes around an unusual part", rest)
	}
	name, rest, err := cutIdentifier(rest[1:])
	if err != nil {
		return Name{}, err
	}
	if rest != "" {
		return Name{}, fmt.Errorf("unexpected %q behind schema.name", rest)
	}
	return Name{Schema: schema, Name: name}, nil
}

// String prints the name as SQL reads it, with quotes only where they are needed.
func (n Name) String() string { return quoteIdentifier(n.Schema) + "." + quoteIdentifier(n.Name) }

// MarshalText is String.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// cutIdentifier reads one identifier from the front of s.
func cutIdentifier(s string) (name, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		name, rest, err = cutQuoted(s)
	} else {
		end := strings.IndexFunc(s, func(r rune) bool { return !identifierRune(r) })
		if end < 0 {
			end = len(s)
		}
		name, rest = strings.ToLower(s[:end]), s[end:]
		if name != "" && (name[0] >= '0' && name[0] <= '9' || name[0] == '$') {
			return "", "", fmt.Errorf("%q begins with %q: put it in double quotes", s[:end], name[:1])
		}
	}
	switch {
	case err != nil:
		return "", "", err
	case name == "":
		return "", "", errors.New("a part of the name is empty")
	case len(name) > maxNameBytes:
		return "", "", fmt.Errorf("%q is longer than %d bytes", name, maxNameBytes)
	}
	return name, rest, nil
}

// cutQuoted reads an identifier in double quotes; a doubled quote stands for one.
func cutQuoted(s string) (name, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		return b.String(), s[i+1:], nil
	}
	return "", "", fmt.Errorf("no closing quote in %s", s)
}

func identifierRune(r rune) bool {
	return r == '_' || r == '$' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 127
}

// quoteIdentifier writes a name as the settings take it (parseName): in quotes where it would be
// read as something else. It is no SQL, which package pgname quotes: key words are left alone.
func quoteIdentifier(name string) string {
	plain := name != "" && name == strings.ToLower(name) && !strings.ContainsFunc(name, func(r rune) bool { return !identifierRune(r) })
	if plain && (name[0] < '0' || name[0] > '9') && name[0] != '$' {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// parseColumns reads a comma-separated list of column names, spelt as in the catalogue; one with a
// comma goes in double quotes.
func parseColumns(text string) ([]string, error) {
	var columns []string
	for rest := strings.TrimSpace(text); ; {
		var name string
		if strings.HasPrefix(rest, `"`) {
			var err error
			if name, rest, err = cutQuoted(rest); err != nil {
				return nil, err
			}
			rest = strings.TrimSpace(rest)
			if rest != "" && rest[0] != ',' {
				return nil, fmt.Errorf("unexpected %q: separate columns with commas", rest)
			}
		} else {
			end := strings.IndexByte(rest, ',')
			if end < 0 {
				end = len(rest)
			}
			name, rest = strings.TrimSpace(rest[:end]), rest[end:]
		}
		columns = append(columns, name)
		if rest == "" {
			return columns, nil
		}
		rest = strings.TrimSpace(rest[1:])
	}
}

func formatColumns(columns []string) string {
	quoted := make([]string, len(columns))
	for i, column := range columns {
		quoted[i] = column
		if column == "" || strings.ContainsAny(column, `,"`) || strings.TrimSpace(column) != column {
			quoted[i] = `"` + strings.ReplaceAll(column, `"`, `""`) + `"`
		}
	}
	return strings.Join(quoted, ", ")
}
