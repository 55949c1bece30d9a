package arch_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"gopkg.in/yaml.v3"

	"github.com/wal2vec/wal2vec/internal/api"
	"github.com/wal2vec/wal2vec/internal/config"
)

// TestAPublishedPortAnswersThisMachineAlone: a page in a browser whose own name leads to the
// published port gets nothing of a container, with the image's settings and with those of the
// compose file on top.
func TestAPublishedPortAnswersThisMachineAlone(t *testing.T) {
	t.Parallel()
	var file composeFile
	if err := yaml.Unmarshal([]byte(deployFile(t, "compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	for place, extra := range map[string]map[string]string{"Dockerfile": nil, "compose.yaml": file.Services["wal2vec"].Environment} {
		env := imageEnvironment(deployFile(t, "Dockerfile"))
		for name, value := range extra {
			if !strings.HasSuffix(name, "_FILE") {
				env[name] = value
			}
		}
		c, err := config.Load(config.Sources{Env: env})
		if err != nil {
			t.Fatalf("%s: %v", place, err)
		}
		handler := api.New(api.Sources{
			Ready:   func() []api.Component { return nil },
			Status:  func(context.Context) (any, error) { return "status", nil },
			Metrics: prometheus.NewRegistry(),
		}, api.Options{AllowedHosts: c.HTTP.AllowedHosts}).Handler()
		for host, want := range map[string]int{
			"evil.example:9187": http.StatusMisdirectedRequest, "localhost:9187": http.StatusOK, "127.0.0.1:9187": http.StatusOK, "172.17.0.2:9187": http.StatusOK,
		} {
			request := httptest.NewRequest(http.MethodGet, "/status", http.NoBody)
			request.Host = host
			// What the publishing passes on comes in on the container's own address.
			local := net.Addr(&net.TCPAddr{IP: net.IPv4(172, 17, 0, 2), Port: 9187})
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, local)))
			if recorder.Code != want {
				t.Errorf("%s: Host: %s gets %d, want %d", place, host, recorder.Code, want)
			}
		}
	}
}

// imageEnvironment returns what the last stage of a Dockerfile sets.
func imageEnvironment(dockerfile string) map[string]string {
	env := map[string]string{}
	for line := range strings.Lines(strings.ReplaceAll(dockerfile, "\\\n", " ")) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "FROM":
			env = map[string]string{}
		case words[0] == "ENV":
			for _, word := range words[1:] {
				name, value, _ := strings.Cut(word, "=")
				env[name] = value
			}
		}
	}
	return env
}

// published matches an option of `docker run` that publishes a port.
var published = regexp.MustCompile(`\s(?:-p|--publish|--publish-all|-P)[ =]?(\S*)`)

// checkDockerExamples returns what the commands in a text open: each that publishes a port does so
// to 127.0.0.1 with a token from a file that it mounts, and every secret is such a file.
func checkDockerExamples(content string) []string {
	var wrong []string
	text := regexp.MustCompile(`(?m)\\\n# *`).ReplaceAllString(content, " ")
	publishing := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#  ") {
			continue
		}
		mounts := func(file string) bool { return strings.Contains(line, ":"+file+":ro") }
		for _, match := range regexp.MustCompile(`-e (\w+)=(\S+?)[)\s]`).FindAllStringSubmatch(line, -1) {
			if secret.MatchString(match[1]) && (!strings.HasSuffix(match[1], "_FILE") || !mounts(match[2])) {
				wrong = append(wrong, "Dockerfile: the example gives "+match[1]+", which is no file that it mounts read-only")
			}
		}
		for _, match := range published.FindAllStringSubmatch(line, -1) {
			publishing++
			if !strings.HasPrefix(match[1], "127.0.0.1:") {
				wrong = append(wrong, "Dockerfile: the example publishes "+match[1]+" to more than 127.0.0.1")
			}
			if !strings.Contains(line, "-e WAL2VEC_HTTP_TOKEN_FILE=") {
				wrong = append(wrong, "Dockerfile: the example publishes without http.token")
			}
		}
	}
	if publishing == 0 {
		wrong = append(wrong, "Dockerfile: has no example that publishes")
	}
	if !regexp.MustCompile(`(?m)^# +chmod 0444 `).MatchString(text) {
		wrong = append(wrong, "Dockerfile: the example does not let the container's user read its secrets")
	}
	return wrong
}

// checkHead returns what the head of wal2vec.service leaves to guess: it installs every file of its
// folder and every file that the units read, and sets the pipeline up before it starts anything.
func checkHead(content string, files []string) []string {
	var wrong []string
	head, units, _ := strings.Cut(content, "\n[Unit]")
	commands := ""
	for line := range strings.Lines(head) {
		if command, isOne := strings.CutPrefix(line, "#   "); isOne {
			commands += command
		}
	}
	for _, file := range files {
		if !strings.Contains(commands, "deploy/systemd/"+file) {
			wrong = append(wrong, "wal2vec.service: its head does not install "+file)
		}
	}
	for _, match := range regexp.MustCompile(`(?m)^(?:LoadCredential=[^:\n]+:|EnvironmentFile=|ExecStart=)(/\S+)`).FindAllStringSubmatch(units, -1) {
		if !strings.Contains(commands, " "+match[1]) {
			wrong = append(wrong, "wal2vec.service: its head does not make "+match[1])
		}
	}
	roles := strings.Index(commands, "ON_ERROR_STOP=1 -f - app <deploy/roles.sql")
	setUp := strings.Index(commands, "wal2vec init --swap-role wal2vec_swap --grant-stream wal2vec_stream")
	start := strings.Index(commands, "systemctl enable")
	if roles < 0 || roles > setUp {
		wrong = append(wrong, "wal2vec.service: its head does not make the roles before it uses them")
	}
	if setUp < 0 || start < 0 || setUp > start {
		wrong = append(wrong, "wal2vec.service: its head does not run `wal2vec init` before it starts the stream")
	}
	for _, unit := range []string{"wal2vec.service", "wal2vec-backfill.timer"} {
		if start < 0 || !strings.Contains(commands[start:], unit) {
			wrong = append(wrong, "wal2vec.service: its head does not enable "+unit)
		}
	}
	if !strings.Contains(commands, "systemctl start --no-block wal2vec-backfill.service") {
		wrong = append(wrong, "wal2vec.service: its head does not encode the rows that are there already")
	}
	return wrong
}

func TestTheHeadsOfDeployFilesLeadToARunningStream(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(filepath.Join("..", "..", "..", "deploy", "systemd"))
	if err != nil || len(entries) < 4 {
		t.Fatalf("%d files: %v", len(entries), err)
	}
	var files []string
	for _, entry := range entries {
		files = append(files, entry.Name())
	}
	unit, docker := deployFile(t, "systemd/wal2vec.service"), deployFile(t, "Dockerfile")
	for _, wrong := range slices.Concat(checkHead(unit, files), checkDockerExamples(docker)) {
		t.Error(wrong)
	}
	f := func(old, with, want string) {
		t.Helper()
		content := unit + docker
		changed := strings.ReplaceAll(content, old, with)
		if changed == content {
			t.Fatalf("no file holds %q", old)
		}
		got := slices.Concat(checkHead(strings.ReplaceAll(unit, old, with), files), checkDockerExamples(strings.ReplaceAll(docker, old, with)))
		if !slices.ContainsFunc(got, func(wrong string) bool { return strings.Contains(wrong, want) }) {
			t.Errorf("with %q for %q: got %q, want one with %q", with, old, got, want)
		}
	}
	f(" wal2vec init --swap", " wal2vec status --swap", "`wal2vec init`")
	f(" --swap-role wal2vec_swap", "", "`wal2vec init`")
	f(" <deploy/roles.sql", " <deploy/role.sql", "does not make the roles")
	f("deploy/systemd/wal2vec-backfill.timer", "", "does not install wal2vec-backfill.timer")
	f("deploy/systemd/wal2vec-backfill.service", "", "does not install wal2vec-backfill.service")
	f(" /etc/wal2vec/source-dsn ", " ", "does not make /etc/wal2vec/source-dsn")
	f("--now wal2vec.service wal2vec-backfill.timer", "--now wal2vec.service", "does not enable wal2vec-backfill.timer")
	f("systemctl start --no-block", "systemctl status", "rows that are there already")
	f("-p 127.0.0.1:9187:9187", "-p 9187:9187", "publishes 9187:9187")
	f("-p 127.0.0.1:9187:9187", "-P", "publishes")
	f("-p 127.0.0.1:9187:9187", "", "no example that publishes")
	f("-e WAL2VEC_HTTP_TOKEN_FILE=", "-e WAL2VEC_LOG_FORMAT=", "without http.token")
	f("-e WAL2VEC_SOURCE_DSN_FILE=/run/secrets/source_dsn", "-e WAL2VEC_SOURCE_DSN=postgres://me:x@db/app", "WAL2VEC_SOURCE_DSN, which is no file")
	f(":/run/secrets/http_token:ro", ":/run/secrets/other:ro", "WAL2VEC_HTTP_TOKEN_FILE, which is no file")
	f("chmod 0444 ", "chmod 0400 ", "let the container's user read")
}

// checkConnectionStrings returns the connection strings with a password in a text that anybody may
// be given: each checks the server's certificate.
func checkConnectionStrings(name, content string) []string {
	var wrong []string
	for _, match := range regexp.MustCompile(`postgres(?:ql)?://[^\s:@/]+:[^\s@]+@([^\s/:?]+)[^\s'"`+"`"+`]*`).FindAllStringSubmatch(strings.ReplaceAll(content, "$(cat database_password)", "x"), -1) {
		// The compose file's database is reached over the network of its own containers.
		if !strings.Contains(match[0], "sslmode=verify-full") && (name != "compose.yaml" || match[1] != "database") {
			wrong = append(wrong, name+": the password of "+match[0]+" goes to any server that answers there")
		}
	}
	for _, match := range regexp.MustCompile(`(?i)(?:://(?:[^\s/]*[@,])?|\bhost(?:addr)?\s*=\s*'?(?:[^\s']*,)?|PGHOST=['"]?|psql .*-h *)localhost\b\S*`).FindAllString(content, -1) {
		if !strings.HasPrefix(match, "://localhost:9187") { // HTTP
			wrong = append(wrong, name+": "+match+" is a name of several addresses, which any account can bind where the server does not")
		}
	}
	return wrong
}

// TestNoExampleTellsAPasswordToAnyServer: what stands in these files is pasted. A port can be bound
// by any account of a machine while the server is down, and who is on the way answers for other
// machines.
func TestNoExampleTellsAPasswordToAnyServer(t *testing.T) {
	t.Parallel()
	var names []string
	for _, pattern := range []string{"deploy/*", "deploy/systemd/*", "docs/*", "*.md"} {
		found, err := filepath.Glob(filepath.Join("..", "..", "..", pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		names = append(names, found...)
	}
	for _, name := range names {
		if content, err := os.ReadFile(name); err == nil { // a folder is none
			for _, wrong := range checkConnectionStrings(filepath.Base(name), string(content)) {
				t.Error(wrong)
			}
		}
	}
	f := func(want bool, text string) {
		t.Helper()
		if got := len(checkConnectionStrings("x", text)) > 0; got != want {
			t.Errorf("%s: found: %t", text, got)
		}
	}
	f(true, "<<<'postgres://wal2vec_stream:change-me-2@localhost:5432/app'")
	f(true, "postgresql://u:p@db/app?sslmode=require")
	f(true, "postgres://postgres:$(cat database_password)@database:5432/app")
	for _, named := range []string{
		"host=localhost dbname=app password=x", "password=x host='localhost'", "host=db,localhost", "postgres://u@localhost:5432/app", "postgres://localhost/app",
		"postgres:///app?host=localhost", "postgres://u@db,localhost/app", "export PGHOST=localhost",
	} {
		f(true, named)
	}
	f(false, "postgres://u@127.0.0.1:5432/app and localhost, ENV WAL2VEC_HTTP_ALLOWED_HOSTS=localhost, IPAddressAllow=localhost, http://localhost:9187/readyz")
	f(false, "`postgres://u:p@db:5432/app?sslmode=verify-full`")
	f(false, "host=/run/postgresql dbname=app user=u")
}
