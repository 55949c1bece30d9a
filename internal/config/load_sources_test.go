package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagBeatsEnvironmentBeatsMLBeatsFileBeatsDefault(t *testing.T) {
	s := config.Sources{}
	f := func(want, origin string) {
		t.Helper()
		c := load(t, s)
		if c.Encoder.Model != want || c.Origin("encoder.model").String() != origin {
			t.Errorf("model %q from %q, want %q from %q", c.Encoder.Model, c.Origin("encoder.model"), want, origin)
		}
	}
	f("all-MiniLM-L6-v2", "default")
	s.File = write(t, "w.yaml", "encoder:\n  model: from-file\n")
	f("from-file", s.File+":2")
	s.DotEnv = write(t, ".env", "ML_EMBEDDING_MODEL=from-dotenv-ml\n")
	f("from-dotenv-ml", s.DotEnv+" ML_EMBEDDING_MODEL")
	s.Env = map[string]string{"ML_EMBEDDING_MODEL": "from-ml"}
	f("from-ml", "environment ML_EMBEDDING_MODEL")
	s.DotEnv = write(t, ".env", "export WAL2VEC_ENCODER_MODEL='from-dotenv' # quoted\n")
	f("from-dotenv", s.DotEnv+" WAL2VEC_ENCODER_MODEL")
	s.Env["WAL2VEC_ENCODER_MODEL"] = "from-env"
	f("from-env", "environment WAL2VEC_ENCODER_MODEL")
	s.Flags = []config.Flag{{Name: "--model", Path: "encoder.model", Value: "from-flag"}}
	f("from-flag", "flag --model")
}

// TestDotEnvChangesNothingInTheProcess: else it could choose the proxy of a hub, the folder of
// libraries that are loaded, or the home of a password file.
func TestDotEnvChangesNothingInTheProcess(t *testing.T) {
	before := os.Environ()
	c := load(t, config.Sources{DotEnv: write(t, ".env", "WAL2VEC_LOG_LEVEL=debug\nPGHOST=db\nHTTPS_PROXY=http://evil\nhttp_proxy=http://evil\nALL_PROXY=evil\n"+
		"LD_LIBRARY_PATH=/evil\nLD_PRELOAD=/evil\nHOME=/evil\nXDG_CACHE_HOME=/evil\nWAL2VEC_HOME=/evil\nSSL_CERT_FILE=/evil\nPATH=/evil\nPGSYSCONFDIR=/evil\n")})
	if after := os.Environ(); !slices.Equal(before, after) {
		t.Errorf("it was %v and is %v", before, after)
	}
	if got := warnings(c); got != "WAL2VEC_HOME has no effect in a .env file (export WAL2VEC_HOME)" {
		t.Errorf("warned %s", got)
	}
}

func TestDotEnvNeedNotExist(t *testing.T) {
	load(t, config.Sources{DotEnv: filepath.Join(t.TempDir(), ".env")})
}

func TestBrokenDotEnvNamesTheLineAndNotTheContent(t *testing.T) {
	path := write(t, ".env", "A=1\nB='two\nlines'\nWAL2VEC_HTTP_TOKEN='hunter2\n")
	_, err := config.Load(config.Sources{DotEnv: path})
	if err == nil || !strings.Contains(err.Error(), path+":4: ") || strings.Contains(err.Error(), "hunter2") || fault.KindOf(err) != fault.Usage {
		t.Fatal(err)
	}
}

func TestUnknownVariablesAreErrors(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		_, err := config.Load(config.Sources{Env: map[string]string{name: "1"}})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("WAL2VEC_SOURCE_TABEL", "configuration: WAL2VEC_SOURCE_TABEL (environment): is not a setting; did you mean WAL2VEC_SOURCE_TABLE?")
	f("WAL2VEC_NOTHING_LIKE_IT_AT_ALL", "configuration: WAL2VEC_NOTHING_LIKE_IT_AT_ALL (environment): is not a setting")
	f("WAL2VEC_CACHE", "")
	f("WAL2VEC_HOME", "")
	f("WAL2VEC_PARTS", "")
	f("WAL2VEC_TEST_PG", "")
	f("ML_SOMETHING", "")
	f("wal2vec_lower", "")
}

func TestFaultsOfEverySourceComeTogether(t *testing.T) {
	_, err := config.Load(config.Sources{
		File:   "testdata/unknown.bad.yaml",
		Env:    map[string]string{"WAL2VEC_ENCODER_THREADS": "x", "ML_DEVICE": "tpu"},
		DotEnv: write(t, ".env", "WAL2VEC_LGO_LEVEL=info"),
		Flags:  []config.Flag{{Name: "--rate", Path: "backfill.rate", Value: "0"}, {Name: "--x", Path: "backfill.rat", Value: "0"}},
	})
	if err == nil {
		t.Fatal("loaded")
	}
	for _, want := range []string{
		"configuration: 6 faults\n",
		"source.tabel (testdata/unknown.bad.yaml:4)",
		`encoder.threads = "x" (environment WAL2VEC_ENCODER_THREADS): must be a whole number`,
		`encoder.device = "tpu" (environment ML_DEVICE): must be one of`,
		".env): is not a setting; did you mean WAL2VEC_LOG_LEVEL?",
		`backfill.rate = "0" (flag --rate): must be 1 or more, or unlimited`,
		"backfill.rat (flag --x): is not a setting; did you mean backfill.rate?",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%s", want, err)
		}
	}
}

func TestAHigherSourceRepairsALowerOne(t *testing.T) {
	_, err := config.Load(config.Sources{
		Env:   map[string]string{"WAL2VEC_ENCODER_THREADS": "-1"},
		Flags: []config.Flag{{Name: "--threads", Path: "encoder.threads", Value: "3"}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A value that cannot be read is a fault even where a stronger one follows, and hides no fault of
// that one.
func TestAnUnreadableValueHidesNoOther(t *testing.T) {
	_, err := config.Load(config.Sources{
		Env:   map[string]string{"WAL2VEC_ENCODER_THREADS": "x"},
		Flags: []config.Flag{{Name: "--threads", Path: "encoder.threads", Value: "-1"}},
	})
	if err == nil || !strings.Contains(err.Error(), "2 faults") {
		t.Fatal(err)
	}
}

func TestEmptyVariables(t *testing.T) {
	c := load(t, config.Sources{Env: map[string]string{
		"WAL2VEC_SOURCE_SOFT_DELETE": "", // has a meaning
		"WAL2VEC_HTTP_LISTEN":        "", // has a meaning
		"WAL2VEC_ENCODER_THREADS":    "", // has none: not set
		"WAL2VEC_SOURCE_DSN":         "", // an unset secret
		"ML_BATCH_SIZE":              "",
	}, File: write(t, "w.yaml", "source:\n  dsn: host=db\n")})
	if c.Source.SoftDelete != "" || c.HTTP.Listen != "" || c.Encoder.RunRows != 0 || c.Source.DSN != "host=db" {
		t.Errorf("%+v", c)
	}
	if _, err := config.Load(config.Sources{Flags: []config.Flag{{Name: "--threads", Path: "encoder.threads"}}}); err == nil {
		t.Error("an empty flag is an error")
	}
}

func TestTheScriptsVariablesAreUnderstood(t *testing.T) {
	c := load(t, config.Sources{Env: map[string]string{
		"ML_EMBEDDING_MODEL": "sentence-transformers/all-MiniLM-L6-v2", "ML_EMBEDDING_DIMENSION": "384", "ML_DEVICE": "mps",
		"ML_BATCH_SIZE": "32", "ML_EMBEDDING_CHUNK_SIZE": "500", "ML_ENABLE_WATERMARK": "False",
	}})
	e := c.Encoder
	if e.Model != "sentence-transformers/all-MiniLM-L6-v2" || e.Dimension != 384 || e.Device != "coreml" || e.RunRows != 32 ||
		c.Backfill.ChunkKeys != 500 || !c.Backfill.Full {
		t.Errorf("%+v %+v", e, c.Backfill)
	}
	if load(t, config.Sources{Env: map[string]string{"ML_ENABLE_WATERMARK": "true"}}).Backfill.Full {
		t.Error("with a watermark a backfill is not full")
	}
	if load(t, config.Sources{Env: map[string]string{"ML_ENABLE_WATERMARK": "false", "WAL2VEC_BACKFILL_FULL": "false"}}).Backfill.Full {
		t.Error("WAL2VEC_BACKFILL_FULL is stronger")
	}
	if _, err := config.Load(config.Sources{Env: map[string]string{"ML_ENABLE_WATERMARK": "maybe"}}); err == nil {
		t.Error("maybe is no boolean")
	}
}

func TestTheHubsOwnVariablesAreUnderstood(t *testing.T) {
	c := load(t, config.Sources{Env: map[string]string{"HF_ENDPOINT": "https://mirror.example", "HF_TOKEN": "hf_abc"}})
	if c.Encoder.Hub != "https://mirror.example" || c.Encoder.HubToken.Reveal() != "hf_abc" || c.Origin("encoder.hub").Name != "HF_ENDPOINT" {
		t.Errorf("%+v", c.Encoder)
	}
	for _, bad := range []string{"mirror.example", "ftp://mirror.example", "https://", "https://user:pa55@mirror.example", "https://mirror.example?a=b"} {
		_, err := config.Load(config.Sources{Env: map[string]string{"WAL2VEC_ENCODER_HUB": bad}})
		if err == nil || !strings.Contains(err.Error(), "must be an address such as https://huggingface.co, without user or query") {
			t.Errorf("%s: %v", bad, err)
		}
		if err != nil && strings.Contains(config.Scrub(err.Error()), "pa55") {
			t.Errorf("%s: the password shows: %v", bad, config.Scrub(err.Error()))
		}
	}
}

func TestMountedSecrets(t *testing.T) {
	const want = config.DSN("postgres://mounted:pa55@db/shop")
	f := func(s config.Sources, origin string) {
		t.Helper()
		c := load(t, s)
		if c.Source.DSN != want || c.Origin("source.dsn").String() != origin {
			t.Errorf("%s from %s", c.Source.DSN.Reveal(), c.Origin("source.dsn"))
		}
	}
	file, err := filepath.Abs("testdata/dsn.txt")
	if err != nil {
		t.Fatal(err)
	}
	yaml := write(t, "w.yaml", "source:\n  dsn_file: "+file+"\n")
	f(config.Sources{File: yaml}, yaml+":2")
	f(config.Sources{Env: map[string]string{"WAL2VEC_SOURCE_DSN_FILE": file}}, "environment WAL2VEC_SOURCE_DSN_FILE")
	f(config.Sources{Flags: []config.Flag{{Name: "--source-dsn-file", Path: "source.dsn_file", Value: file}}}, "flag --source-dsn-file")
	f(config.Sources{
		Env:    map[string]string{"WAL2VEC_SOURCE_DSN": string(want)},
		DotEnv: write(t, ".env", "WAL2VEC_SOURCE_DSN_FILE=/nowhere"),
	}, "environment WAL2VEC_SOURCE_DSN")
	_, err = config.Load(config.Sources{Env: map[string]string{"WAL2VEC_HTTP_TOKEN": "a", "WAL2VEC_HTTP_TOKEN_FILE": file}})
	if err == nil || !strings.Contains(err.Error(), "is also set by WAL2VEC_HTTP_TOKEN; keep one of them") {
		t.Error(err)
	}
	_, err = config.Load(config.Sources{Env: map[string]string{"WAL2VEC_SINK_DSN_FILE": "/nowhere"}})
	if err == nil || !strings.Contains(err.Error(), `sink.dsn_file = "/nowhere" (environment WAL2VEC_SINK_DSN_FILE): cannot be read`) {
		t.Error(err)
	}
}

func TestConfigFileNamedByTheEnvironment(t *testing.T) {
	c := load(t, config.Sources{Env: map[string]string{"WAL2VEC_CONFIG": write(t, "w.yaml", "pipeline: named\n")}})
	if c.Pipeline != "named" || c.Source.Slot != "wal2vec_named" {
		t.Errorf("%s, %s", c.Pipeline, c.Source.Slot)
	}
}

func TestEnvironKeepsEqualSigns(t *testing.T) {
	env := config.Environ([]string{"A=b=c", "EMPTY=", "NOTHING"})
	if env["A"] != "b=c" || len(env) != 2 {
		t.Errorf("%q", env)
	}
}
