package rows_test

import (
	"testing"

	"github.com/wal2vec/wal2vec/replication/rows"
)

func TestAFilterIsSplitAtItsFirstOperator(t *testing.T) {
	t.Parallel()
	f := func(text, column, operator, value string) {
		t.Helper()
		want := rows.Filter{Column: column, Operator: operator, Value: value}
		if got, ok := rows.ParseFilter(text); !ok || got != want {
			t.Errorf("%q: %+v, %t, want %+v", text, got, ok, want)
		}
	}
	none := func(text string) {
		t.Helper()
		if got, ok := rows.ParseFilter(text); ok {
			t.Errorf("%q: %+v", text, got)
		}
	}
	f("price<=200", "price", "<=", "200")
	f("price >= 200 ", "price", ">=", "200")
	f("price<200", "price", "<", "200")
	f("price>200", "price", ">", "200")
	f("name=a<=b", "name", "=", "a<=b")
	f("name<>lamp", "name", "<>", "lamp")
	f("name!=lamp", "name", "<>", "lamp")
	f("name =", "name", "=", "")
	none("price")
	none("<3")
	none(" <3")
	none("!=3")
	none("a!b")
	none("")
}
