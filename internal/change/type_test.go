package change_test

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
)

func TestATypeIsNeverMoreThanAName(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := change.Type(in).SQL(); got != want || !change.Type(in).Known() {
			t.Errorf("%q became %s", in, got)
		}
	}
	for _, plain := range []string{"smallint", "integer", "bigint", "character varying"} {
		f(plain, plain)
	}
	f("text", "pg_catalog.text")
	f("uuid", "pg_catalog.uuid")
	f("character varying(20)", "character varying")
	for _, hostile := range []string{
		"", "Text", " text", "text ", "text[]", "text from pg_authid", "text union select", `text"; DROP TABLE x; --`, "public.domain", `"evil"`,
		"character varying); DROP TABLE x", "timestamp with time zone", "bigint\x00",
	} {
		got := change.Type(hostile).SQL()
		inner, found := strings.CutPrefix(got, `pg_catalog."`)
		inner, closed := strings.CutSuffix(inner, `"`)
		if change.Type(hostile).Known() || !found || !closed || strings.Contains(strings.ReplaceAll(inner, `""`, ""), `"`) || strings.Contains(got, "\x00") {
			t.Errorf("%q became %s", hostile, got)
		}
	}
}
