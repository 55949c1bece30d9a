package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/connect"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// FuzzArguments reads any texts as the filter, the position and the key of a search. What is
// refused is refused in one line with an advice; what is taken consists of nothing but its parts,
// and its operator is one of the known ones.
func FuzzArguments(f *testing.F) {
	for _, filter := range []string{
		"price<=200", "a=b=c", "name <> ''", "x!=1", " y >= 2 ", "=1", "a", "a!b", "a<", "\"a\"=1", "a; DROP TABLE t--=1", "a\n<\x001", "<>", "ü≥1", "a=>1", "a\xff=\xff",
	} {
		f.Add(filter, "16/B374D848", "1,2,3", uint8(2))
	}
	f.Add("a=1", "", "", uint8(1))
	f.Add("a=1", "1\n/1", ",", uint8(3))
	f.Fuzz(func(t *testing.T, filterText, lsnText, keyText string, columns uint8) {
		filters, err := parseFilters([]string{filterText})
		switch {
		case err != nil:
			checkRefused(t, err)
		case !slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, filters[0].Operator),
			filters[0].Column == "" || strings.ContainsAny(filters[0].Column, "<>=!"),
			!strings.HasPrefix(strings.TrimSpace(filterText), filters[0].Column),
			!strings.HasSuffix(strings.TrimSpace(filterText), filters[0].Value):
			t.Fatalf("%q became %+v", filterText, filters[0])
		}
		lsn, err := parseMinLSN(lsnText)
		if err != nil {
			checkRefused(t, err)
		} else if again, err := change.ParseLSN(lsn.String()); err != nil || again != lsn {
			t.Fatalf("%q became %s, %v", lsnText, lsn, err)
		}
		checkKey(t, keyText, 1+int(columns)%4)
	})
}

func checkKey(t *testing.T, text string, columns int) {
	key, err := connect.ParseKey(text, columns)
	if err != nil {
		checkRefused(t, err)
		return
	}
	if again, err := connect.ParseKey(key.String(), columns); err != nil || again != key || len(key.Parts()) != columns {
		t.Fatalf("%q became %q, which is printed as %s: %v", text, key.Parts(), key, err)
	}
}

func checkRefused(t *testing.T, err error) {
	if fault.KindOf(err) != fault.Usage || fault.Try(err) == "" || strings.ContainsAny(err.Error(), "\n\x00\x1b") {
		t.Fatalf("%q, try %q", err, fault.Try(err))
	}
}
