package config_test

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
)

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is out of date: go test ./internal/config -update\ngot\n%s", path, got)
	}
}

func TestReferenceFileIsCurrent(t *testing.T) {
	golden(t, "../../docs/config.reference.yaml", config.Reference())
}

// Taking every # off gives a file that loads, and loads the defaults.
func TestReferenceFileHoldsTheDefaults(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(config.Reference()) {
		body := strings.TrimLeft(line, " ")
		if strings.HasPrefix(body, "#") && !strings.HasPrefix(body, "# ") && !strings.HasPrefix(body, "#\n") {
			line = strings.Replace(line, "#", "", 1)
		}
		b.WriteString(line)
	}
	file := write(t, "w.yaml", b.String())
	got, want := load(t, config.Sources{File: file}), config.Default()
	for i, entry := range got.Entries() {
		if entry.Value != want.Entries()[i].Value || !strings.HasPrefix(entry.Origin, file+":") {
			t.Errorf("%+v, want %+v", entry, want.Entries()[i])
		}
	}
}

func TestPrint(t *testing.T) {
	c := load(t, config.Sources{
		File:  "testdata/full.good.yaml",
		Env:   map[string]string{"WAL2VEC_LOG_FORMAT": "console", "ML_BATCH_SIZE": "48"},
		Flags: []config.Flag{{Name: "--device", Path: "encoder.device", Value: "cpu"}},
	})
	var out bytes.Buffer
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/print.golden.yaml", out.String())
	if masks := strings.Count(out.String(), "*****"); masks != 6 { // two in the source's DSN, one in its reader's, one in the sink's, two tokens
		t.Errorf("%d masks", masks)
	}
	for _, secret := range []string{"s3cret", "other", "it's", "abc123", "hf_abc"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s shows", secret)
		}
	}
}

func TestWhatIsPrintedLoadsAgain(t *testing.T) {
	c := load(t, config.Sources{File: "testdata/full.good.yaml", Env: map[string]string{
		"WAL2VEC_SOURCE_DSN": "host=db dbname='my db'", "WAL2VEC_SINK_DSN": "host=other", "WAL2VEC_SOURCE_TEMPLATE": `a: "{b}" # it's {{c}} \`,
		"WAL2VEC_PIPELINE": "true", "WAL2VEC_SOURCE_SOFT_DELETE": "007",
	}})
	c.HTTP.Token = ""
	var out bytes.Buffer
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	again := load(t, config.Sources{File: write(t, "w.yaml", out.String())})
	for i, entry := range again.Entries() {
		if want := c.Entries()[i].Value; entry.Value != want {
			t.Errorf("%s is %q, was %q", entry.Path, entry.Value, want)
		}
	}
}

// Every field of the struct is a setting, under the name that the struct gives it: a field that is
// forgotten in settings would be a setting that no one can set.
func TestEveryFieldIsASetting(t *testing.T) {
	paths := map[string]bool{}
	for _, s := range config.Settings() {
		if paths[s.Path] || s.Help == "" || !strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s: twice, or without help", s.Path)
		}
		paths[s.Path] = true
	}
	fields := 0
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for field := range typ.Fields() {
			if !field.IsExported() {
				continue
			}
			if field.Type.Kind() == reflect.Struct && field.Type.PkgPath() == typ.PkgPath() && field.Type.Name() == field.Name {
				walk(strings.ToLower(field.Name)+".", field.Type)
				continue
			}
			fields++
			if path := prefix + snake(field.Name); !paths[path] {
				t.Errorf("%s is not a setting", path)
			}
		}
	}
	walk("", reflect.TypeFor[config.Config]())
	if fields != len(paths) {
		t.Errorf("%d fields, %d settings", fields, len(paths))
	}
}

func isCapital(c byte) bool { return c >= 'A' && c <= 'Z' }

func snake(name string) string {
	if strings.ToUpper(name) == name {
		return strings.ToLower(name)
	}
	var b strings.Builder
	for i, r := range name {
		// A word begins with a capital that follows a small letter, or precedes one: OnWALPressure
		// is on_wal_pressure.
		if i > 0 && isCapital(name[i]) && (!isCapital(name[i-1]) || i+1 < len(name) && !isCapital(name[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// A setting of each kind set through the environment reads back as it was written.
func TestSettingsReadBackFromTheEnvironment(t *testing.T) {
	for _, s := range config.Settings() {
		if s.Default == "" {
			continue
		}
		c := load(t, config.Sources{Env: map[string]string{s.Env: s.Default}})
		for _, entry := range c.Entries() {
			if entry.Path == s.Path && (entry.Value != s.Default || entry.Origin != "environment "+s.Env) {
				t.Errorf("%+v, want %s", entry, s.Default)
			}
		}
	}
}
