package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
)

var update = flag.Bool("update", false, "write golden files")

func load(t *testing.T, s config.Sources) config.Config {
	t.Helper()
	c, err := config.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaultIsValidAndFull(t *testing.T) {
	c := load(t, config.Sources{})
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Source.Slot != "wal2vec_product_embeddings" || c.Source.Publication != c.Source.Slot {
		t.Errorf("slot %q, publication %q", c.Source.Slot, c.Source.Publication)
	}
	if c.Source.Table.String() != "staging_marts.dim_product" || c.Source.Template.String() != "{name}. {brand}. {category}. {description}" {
		t.Errorf("table %s, template %s", c.Source.Table, c.Source.Template)
	}
	if !c.SinkIsSource() || c.Backfill.Rate != nil || c.Stream.MaxBytes != 8<<20 {
		t.Errorf("%+v", c)
	}
}

func TestNamesComeFromThePipelines(t *testing.T) {
	f := func(env map[string]string, view string, derived bool) {
		t.Helper()
		c := load(t, config.Sources{Env: env})
		if c.Sink.View.String() != view || c.ViewIsDerived() != derived {
			t.Errorf("%v: view %s, derived %v", env, c.Sink.View, c.ViewIsDerived())
		}
	}
	f(nil, "analytics_features.product_embeddings", true)
	f(map[string]string{"WAL2VEC_PIPELINE": "articles"}, "analytics_features.articles", true)
	f(map[string]string{"WAL2VEC_PIPELINE": "articles", "WAL2VEC_SINK_VIEW": "analytics_features.product_embeddings"}, "analytics_features.product_embeddings", false)
}

func TestAPipelineIsNamedAfterItsTable(t *testing.T) {
	f := func(table, want string) {
		t.Helper()
		name := config.Name{Schema: "public", Name: table}
		got := config.PipelineFor(name)
		if got != want {
			t.Errorf("%q: %s, want %s", table, got, want)
		}
		load(t, config.Sources{Env: map[string]string{"WAL2VEC_PIPELINE": got}})
	}
	f("article", "article_embeddings")
	f("Order Line--2", "order_line_2_embeddings")
	f("24shop", "shop_embeddings")
	f("_x_", "x_embeddings")
	f(strings.Repeat("long_", 12), strings.Repeat("long_", 5)+"long_embeddings")
	f("記事", "table_9e188fa3_embeddings")
	if got := config.PipelineFor(config.Default().Source.Table); got != config.Default().Pipeline {
		t.Errorf("the default table's pipeline is %s", got)
	}
}

// TestASettingsFileForOneTable: what it holds is read as it was meant, and is no secret.
func TestASettingsFileForOneTable(t *testing.T) {
	given := []config.Flag{
		{Name: "--table", Path: "source.table", Value: `"A b"."c""d"`},
		{Name: "--key", Path: "source.key", Value: `"x,y",z`},
		{Name: "--t", Path: "source.template", Value: "{a: b} # {{{c}"},
		{Name: "--s", Path: "source.soft_delete", Value: ""},
		{Name: "--source", Path: "source.dsn", Value: "postgres://u:s3cret@h/d"},
		{Name: "--token", Path: "http.token", Value: "s3cret"},
		{Name: "--level", Path: "log.level", Value: "debug"},
	}
	want := load(t, config.Sources{Flags: given})
	text := want.Starter("", map[string][]string{"source.template": {"Not in it: two\nlines"}})
	if strings.Contains(text, "s3cret") || strings.Contains(text, "dsn") || strings.Contains(text, "token") || strings.Contains(text, "max_rows") || !strings.Contains(text, `  # Not in it: two\nlines`) {
		t.Errorf("written:\n%s", text)
	}
	file := filepath.Join(t.TempDir(), "written.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := load(t, config.Sources{File: file})
	for _, path := range []string{"pipeline", "source.table", "source.key", "source.template", "source.soft_delete", "sink.view", "log.level"} {
		if got.Value(path) != want.Value(path) || got.Origin(path).Kind != config.FromFile {
			t.Errorf("%s: %s from %s, want %s", path, got.Value(path), got.Origin(path), want.Value(path))
		}
	}
}

func TestEveryFormIsRead(t *testing.T) {
	c := load(t, config.Sources{File: "testdata/full.good.yaml"})
	rows := 1000
	template := c.Source.Template
	if template.String() != "{title}: {body}" || len(template.Columns()) != 2 {
		t.Errorf("template %q", template)
	}
	f := func(got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %#v, want %#v", got, want)
		}
	}
	f(c.Pipeline, "catalogue_2")
	f(c.Source, config.Source{
		DSN:     "postgres://reader:s3cret@db.example:5433/shop?sslmode=require&sslpassword=other",
		ReadDSN: "postgres://rows:s3cret2@db.example:5433/shop?sslmode=require",
		Table:   config.Name{Schema: "Shop", Name: "products"}, Key: []string{"tenant", "sku,code"}, Template: template,
		Slot: "wal2vec_catalogue_2", Publication: "shop_pub", TrustOwner: true,
	})
	f(c.Sink, config.Sink{
		DSN:    `host=sink.example dbname=vectors user=writer password='it\'s secret'`,
		Schema: "w2v", View: config.Name{Schema: "search", Name: "products"}, Storage: change.StorageHalfvec,
		IndexMemory: 3 << 30,
	})
	f(c.Encoder, config.Encoder{
		Model: "/models/minilm", ModelFolders: []string{"/models", "/srv/a, b"}, Dimension: 384, Device: change.DeviceCoreML, Precision: change.PrecisionFP32,
		Threads: 2, RunTokens: 1024, RunRows: 16, Hub: "http://hub.example:8080/mirror", HubToken: "hf_abc",
	})
	f(c.Stream, config.Stream{
		MaxRows: 100, MaxTokens: 4096, MaxBytes: 512 << 10, MaxAge: 50 * time.Millisecond, MaxRowBytes: 1 << 20,
		DrainTimeout: time.Minute, IdleInterval: 5 * time.Second, RetryMax: 90 * time.Second,
		OnGap: config.GapResync, OnSwap: config.SwapRefuse, OnWALPressure: config.PressureDrop, RetainedLimit: 2 << 30,
	})
	f(c.Backfill, config.Backfill{ChunkKeys: 250, Rate: &rows, WaitTimeout: time.Hour, InFlight: 2, Writers: 3, Full: true})
	f(c.HTTP, config.HTTP{Token: "abc123", AllowedHosts: []string{"wal2vec.internal", "10.0.0.7"}, MaxConnections: 12})
	f(c.Log, config.Log{Level: "debug", Format: "json"})
	f(c.SinkIsSource(), false)
	f(c.SinkDSN(), c.Sink.DSN)
	f(c.ReadDSN(), c.Source.ReadDSN)
}

func TestGoodFilesLoad(t *testing.T) {
	files, err := filepath.Glob("testdata/*.good.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { load(t, config.Sources{File: file}) })
	}
	c := load(t, config.Sources{File: "testdata/list.good.yaml"})
	if len(c.Source.Key) != 2 || c.Source.Key[1] != "sku" {
		t.Errorf("key %q", c.Source.Key)
	}
}

// The first lines of a bad file, "# want: ...", are the message that it must bring.
func TestBadFilesSayEverythingThatIsWrong(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(content)) {
				if text, found := strings.CutPrefix(line, "# want: "); found {
					want = append(want, strings.TrimRight(text, "\n"))
				}
			}
			_, err = config.Load(config.Sources{File: file})
			if err == nil {
				t.Fatal("loaded")
			}
			if got := err.Error(); got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
			if fault.KindOf(err) != fault.Usage || fault.Try(err) == "" {
				t.Errorf("kind %d, try %q", fault.KindOf(err), fault.Try(err))
			}
			if strings.Contains(err.Error(), "hunter") {
				t.Error("the message shows a secret")
			}
		})
	}
}

func TestMissingFileIsNamed(t *testing.T) {
	_, err := config.Load(config.Sources{File: "testdata/nowhere.yaml"})
	if err == nil || err.Error() != `configuration file "testdata/nowhere.yaml" cannot be read: no such file or directory` || fault.KindOf(err) != fault.Usage {
		t.Fatal(err)
	}
}

func TestValidateReportsAllFaultsOfAConfigMadeInGo(t *testing.T) {
	c := config.Default()
	c.Log.Level = "loud"
	c.Backfill.InFlight = 0
	c.Source.Table = config.Name{}
	var faults config.FaultsError
	if err := c.Validate(); !errors.As(err, &faults) || len(faults) != 3 {
		t.Fatal(err)
	}
	if faults[0].Field != "source.table" || faults[1].Field != "backfill.in_flight" || faults[2].Field != "log.level" {
		t.Errorf("%v", faults)
	}
	if got := faults[1].String(); got != `backfill.in_flight = "0": must be from 1 to 64` {
		t.Error(got)
	}
}

func TestRequireSource(t *testing.T) {
	if err := load(t, config.Sources{}).RequireSource(); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Try(err), "WAL2VEC_SOURCE_DSN") {
		t.Error(err)
	}
	for _, env := range []map[string]string{{"PGHOST": "db"}, {"WAL2VEC_SOURCE_DSN": "host=db"}} {
		if err := load(t, config.Sources{Env: env}).RequireSource(); err != nil {
			t.Error(env, err)
		}
	}
}
