package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// open gives a file a mode that no umask makes, and lets every account into the test's own folder,
// of mode 0700.
func open(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	t.Setenv(safefile.TrustVariable, "")
	if err := errors.Join(os.Chmod(path, mode), os.Chmod(filepath.Dir(t.TempDir()), 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

// warnings are one line each, with their advice.
func warnings(c config.Config) string {
	var all []string
	for _, w := range c.Warnings() {
		all = append(all, w.Error()+" ("+fault.Try(w)+")")
	}
	return strings.Join(all, "\n")
}

func TestADotEnvThatOthersMayWriteIsNotRead(t *testing.T) {
	const content = "WAL2VEC_PIPELINE=theirs\nnot a line\x00" // nothing of it counts, not even its faults
	path := open(t, write(t, ".env", content), 0o666)
	c := load(t, config.Sources{DotEnv: path})
	want := "the file " + path + ` is not read: "` + path + `" may be written by every account (mkdir -m 700 ` + path + `.new && cp -P ` + path + ` ` +
		path + `.new/.env && [ ! -L ` + path + `.new/.env ] && chmod go-w ` + path + `.new/.env  # look whether what is in the copy is yours; only then: mv -fT ` +
		path + `.new/.env ` + path + ` && rmdir ` + path + `.new)`
	if got := warnings(c); got != want || c.Pipeline == "theirs" {
		t.Errorf("pipeline %s, warned\n%s\nwant\n%s", c.Pipeline, got, want)
	}

	path = open(t, write(t, ".env", "WAL2VEC_PIPELINE=theirs"), 0o600)
	if got := load(t, config.Sources{DotEnv: path}).Pipeline; got != "theirs" {
		t.Errorf("an owner's own file gives %s", got)
	}
	dir := filepath.Dir(path)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if c = load(t, config.Sources{DotEnv: path}); c.Pipeline == "theirs" || !strings.Contains(warnings(c), `"`+dir+`" may be written by every account`) {
		t.Errorf("below an open folder: pipeline %s, warned %s", c.Pipeline, warnings(c))
	}
	link := filepath.Join(t.TempDir(), ".env")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if c = load(t, config.Sources{DotEnv: link}); c.Pipeline == "theirs" || warnings(c) == "" {
		t.Errorf("by a link: pipeline %s, warned %s", c.Pipeline, warnings(c))
	}
}

// TestADotEnvOfAWeakerAccountIsNotRead gives the file away, which root alone can; another account
// finds its own file read.
func TestADotEnvOfAWeakerAccountIsNotRead(t *testing.T) {
	path := open(t, write(t, ".env", "WAL2VEC_PIPELINE=theirs"), 0o600)
	root := os.Geteuid() == 0
	if root {
		if err := os.Chown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	c := load(t, config.Sources{DotEnv: path})
	if read := c.Pipeline == "theirs"; read == root || strings.Contains(warnings(c), "belongs to another account (uid 65534)") != root {
		t.Errorf("pipeline %s, warned %s", c.Pipeline, warnings(c))
	}
}

func TestReadingDotEnvCanBeSwitchedOff(t *testing.T) {
	path := write(t, ".env", "WAL2VEC_PIPELINE=dotted")
	for value, want := range map[string]string{"": "dotted", "on": "dotted", "off": config.Default().Pipeline} {
		if got := load(t, config.Sources{DotEnv: path, Env: map[string]string{"WAL2VEC_DOTENV": value}}).Pipeline; got != want {
			t.Errorf("%q: pipeline %s", value, got)
		}
	}
	for _, s := range []config.Sources{
		{DotEnv: path, Env: map[string]string{"WAL2VEC_DOTENV": "no"}},
		{DotEnv: write(t, ".env", "WAL2VEC_DOTENV=off")},
		{DotEnv: write(t, ".env", "WAL2VEC_TRUST_UIDS=0")}, // too late, and theirs to say
	} {
		if _, err := config.Load(s); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "WAL2VEC_") {
			t.Error(err)
		}
	}
}

func TestFilesThatWereNamedAndAreOpenToOthersAreWarnedOf(t *testing.T) {
	settings := open(t, write(t, "w.yaml", "pipeline: named\n"), 0o666)
	if c := load(t, config.Sources{File: settings}); c.Pipeline != "named" ||
		!strings.HasPrefix(warnings(c), "another account could change the settings in "+settings+": ") {
		t.Errorf("pipeline %s, warned %s", c.Pipeline, warnings(c))
	}
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o644: "may be read by every account", 0o622: "may be written by every account"} {
		secret := open(t, write(t, "dsn", "host=h password=x"), mode)
		c := load(t, config.Sources{Env: map[string]string{"WAL2VEC_SOURCE_DSN_FILE": secret}})
		if got := warnings(c); (got == "") != (want == "") || !strings.Contains(got, want) || c.Source.DSN == "" {
			t.Errorf("%o: %s", mode, got)
		}
	}
}

// TestADotEnvThatIsNoFileIsPassedOver: one was never answered, the other stopped every command.
func TestADotEnvThatIsNoFileIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	pipe, folder := filepath.Join(dir, "pipe"), filepath.Join(dir, "folder")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Mkdir(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	for path, what := range map[string]string{pipe: "a pipe", folder: "a folder", "/dev/zero": "a device"} {
		c := load(t, config.Sources{DotEnv: path})
		want := path + " is not read: it is " + what + " and not a file (export WAL2VEC_DOTENV=off)"
		if got := warnings(c); got != want && path != "/dev/zero" { // that one may be written by every account
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestEveryFileOfTheConfigurationIsAFileWithABound names what is none, and what is too much, in
// every place.
func TestEveryFileOfTheConfigurationIsAFileWithABound(t *testing.T) {
	dir := t.TempDir()
	pipe, huge := filepath.Join(dir, "pipe"), filepath.Join(dir, "huge")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(huge, bytes.Repeat([]byte("#\n"), 1<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{pipe: "is a pipe and not a file", dir: "is a folder and not a file", "/dev/zero": "is a device and not a file", huge: "has more than"} {
		for place, s := range map[string]config.Sources{
			"--config":         {File: path},
			"WAL2VEC_CONFIG":   {Env: map[string]string{"WAL2VEC_CONFIG": path}},
			"config of .env":   {DotEnv: write(t, ".env", "WAL2VEC_CONFIG="+path)},
			"source.dsn_file":  {Env: map[string]string{"WAL2VEC_SOURCE_DSN_FILE": path}},
			"http.token_file":  {DotEnv: write(t, ".env", "WAL2VEC_HTTP_TOKEN_FILE="+path)},
			"sink.dsn_file":    {File: write(t, "w.yaml", "sink: {dsn_file: "+path+"}")},
			"flag of a secret": {Flags: []config.Flag{{Name: "--set", Path: "encoder.hub_token_file", Value: path}}},
		} {
			_, err := config.Load(s)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || fault.KindOf(err) != fault.Usage || fault.Try(err) == "" {
				t.Errorf("%s = %s: %v", place, path, err)
			}
		}
	}
	if _, err := config.Load(config.Sources{DotEnv: huge}); err == nil || !strings.Contains(err.Error(), "has more than 65536 bytes") {
		t.Errorf(".env: %v", err)
	}
}

// TestTheBadLineOfADotEnvIsFoundInTime: the work for it grows with the file's length, not with its
// square.
func TestTheBadLineOfADotEnvIsFoundInTime(t *testing.T) {
	for line, text := range map[int]string{1: "A='\n" + strings.Repeat("\n", 15000), 301: strings.Repeat("A=1\n", 300) + "B='\n" + strings.Repeat("\n", 15000)} {
		path := write(t, ".env", text)
		allocations := testing.AllocsPerRun(1, func() {
			_, err := config.Load(config.Sources{DotEnv: path})
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf(".env:%d: is not NAME=value", line)) {
				t.Errorf("%v, want line %d", err, line)
			}
		})
		if allocations > 20_000 { // each line read again with all before it: 60,000
			t.Errorf("line %d: %.0f allocations", line, allocations)
		}
	}
}
