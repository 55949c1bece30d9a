package config_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/config"
)

func TestParseName(t *testing.T) {
	f := func(in, schema, name string) {
		t.Helper()
		got, err := config.ParseName(in)
		if err != nil || got.Schema != schema || got.Name != name {
			t.Errorf("ParseName(%s) = %q, %v", in, got, err)
		}
	}
	f("a.b", "a", "b")
	f(" Shop.Products ", "shop", "products")
	f(`"Shop"."My ""odd"" table"`, "Shop", `My "odd" table`)
	f(`public."a.b"`, "public", "a.b")
	f("straße.größe", "straße", "größe")
}

func TestParseNameRefuses(t *testing.T) {
	for _, in := range []string{"", ".", "a", "a.", ".b", "a.b.c", `"a.b`, `"".b`, "a b.c", "a-b.c", "1a.b", `"a"b.c`, strings.Repeat("x", 64) + ".a"} {
		if got, err := config.ParseName(in); err == nil {
			t.Errorf("ParseName(%q) = %s", in, got)
		}
	}
}

func TestNamesSurviveTheirTextForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringMatching(`[a-zA-Z0-9_$". äÉ]{1,20}`)
		want := config.Name{Schema: part.Draw(t, "schema"), Name: part.Draw(t, "name")}
		got, err := config.ParseName(want.String())
		if err != nil || got != want {
			t.Fatalf("%q became %q, %v", want, got, err)
		}
	})
}
