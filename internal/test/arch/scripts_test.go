package arch_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAServerOfAScriptIsItsOwn: a script that starts a PostgreSQL lets no other account of the
// machine, and no other machine, into it: a superuser runs code as the server's account.
func TestAServerOfAScriptIsItsOwn(t *testing.T) {
	t.Parallel()
	found := 0
	for _, folder := range []string{"scripts", "findings"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "..", folder, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if info, err := os.Stat(file); err != nil || info.IsDir() {
				continue
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(content), `initdb" -D`) {
				continue
			}
			found++
			if wrong := openServer(string(content)); wrong != "" {
				t.Errorf("%s: %s", file, wrong)
			}
			for _, change := range []struct{ from, to string }{
				{`-A scram-sha-256 --pwfile=`, `-A trust --pwfile=`},
				{`--pwfile=`, `--pw=`},
				{`listen_addresses=`, `listen_addresses=* -c x=`},
				{`listen_addresses=`, `listen_addresses=0.0.0.0 -c x=`},
				{`unix_socket_`, `socket_`},
				{"initdb\" -D", "initdb\" -A md5 -D"},
				{"initdb\" -D", "true; echo 'host " + strings.Repeat("all ", 3) + "scram-sha-256'; initdb\" -D"},
			} {
				changed := strings.ReplaceAll(string(content), change.from, change.to)
				if changed == string(content) {
					t.Errorf("%s has no %q", file, change.from)
				}
				if openServer(changed) == "" {
					t.Errorf("%s: %q for %q is not found", file, change.to, change.from)
				}
			}
		}
	}
	if found < 2 {
		t.Errorf("%d scripts start a server", found)
	}
}

// openServer says how a script's server is open to others.
func openServer(script string) string {
	for _, want := range []string{`-A scram-sha-256 --pwfile=`, `unix_socket_permissions=0700|unix_socket_directories= `, `listen_addresses=('' |127\.0\.0\.1)`} {
		if !regexp.MustCompile(want).MatchString(script) {
			return "it has no " + want
		}
	}
	return regexp.MustCompile(`-A (trust|password|md5|peer|ident)|listen_addresses=[^1']|host +all +all +(all|0\.0\.0\.0|::/0)`).FindString(script)
}
