package arch_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/wal2vec/wal2vec/internal/config"
)

func TestDeployFilesAreLocked(t *testing.T) {
	t.Parallel()
	for _, wrong := range slices.Concat(
		checkCompose(deployFile(t, "compose.yaml")), checkDockerfile(deployFile(t, "Dockerfile")),
		checkUnits(deployFile(t, "systemd/wal2vec.service"), deployFile(t, "systemd/wal2vec-backfill.service")),
	) {
		t.Error(wrong)
	}
}

// TestEachDeployRuleCanFail changes one line of a file at a time and wants the rule that it breaks.
func TestEachDeployRuleCanFail(t *testing.T) {
	t.Parallel()
	f := func(check func(string) []string, name, old, with, want string) {
		t.Helper()
		content := deployFile(t, name)
		changed := strings.Replace(content, old, with, 1)
		if changed == content {
			t.Fatalf("%s does not hold %q", name, old)
		}
		if got := check(changed); !slices.ContainsFunc(got, func(wrong string) bool { return strings.Contains(wrong, want) }) {
			t.Errorf("%s with %q for %q: got %q, want one with %q", name, with, old, got, want)
		}
	}
	compose := func(old, with, want string) {
		t.Helper()
		f(checkCompose, "compose.yaml", old, with, want)
	}
	compose(`"127.0.0.1:9187:9187"`, `"9187:9187"`, "wal2vec: publishes 9187:9187")
	compose(`"127.0.0.1:9187:9187"`, `"0.0.0.0:9187:9187"`, "wal2vec: publishes 0.0.0.0:9187:9187")
	compose(`["127.0.0.1:9187:9187"]`, "[{target: 9187, published: 9187}]", "wal2vec: publishes")
	compose("cap_drop: [ALL]", "cap_drop: [NET_RAW]", "database: cap_drop")
	compose("read_only: true", "read_only: false", "wal2vec: read_only")
	compose(`"no-new-privileges:true"`, `"seccomp:unconfined"`, "wal2vec: security_opt")
	compose("{core: 0}", "{core: 1}", "database: ulimits")
	compose("    user: postgres", "    user: root", "database: user")
	compose("65532:65532", "0:0", "wal2vec: user")
	compose("    user: postgres\n", "    user: postgres\n    privileged: true\n", "database: privileged")
	compose("    user: postgres\n", "    user: postgres\n    network_mode: host\n", "database: network_mode")
	compose(`"database:/var/lib/postgresql"`, `"/:/host"`, "database: mounts /:/host")
	compose("pg18-bookworm@sha256:2ba9", "pg18-bookworm@sha256:2", "database: image")
	compose("WAL2VEC_SOURCE_DSN_FILE:", "WAL2VEC_SOURCE_DSN:", "WAL2VEC_SOURCE_DSN is no file")
	compose("POSTGRES_PASSWORD_FILE:", "POSTGRES_PASSWORD:", "POSTGRES_PASSWORD is no file")
	compose("/run/secrets/source_dsn", "/run/secrets/another", "WAL2VEC_SOURCE_DSN_FILE is no secret")
	compose("WAL2VEC_LOG_FORMAT: json", "WAL2VEC_LOG_FORM: json", "WAL2VEC_LOG_FORM")
	compose("      WAL2VEC_HTTP_ALLOWED_HOSTS: wal2vec\n", "", "publishes a port without WAL2VEC_HTTP_ALLOWED_HOSTS")
	compose("      WAL2VEC_HTTP_TOKEN_FILE: /run/secrets/http_token\n", "", "publishes a port without WAL2VEC_HTTP_TOKEN_FILE")
	compose("    secrets: [source_dsn, http_token]\n", "    secrets: [source_dsn]\n", "WAL2VEC_HTTP_TOKEN_FILE is no secret")
	compose("{file: secrets/http_token}", "{environment: TOKEN}", "secret http_token")
	compose("secrets: [source_dsn", "secrets: {", "compose.yaml:")
	compose("{internal: true}", "{internal: false}", "network databases")
	compose(`enable_ip_masquerade: "false"`, `enable_ip_masquerade: "true"`, "network monitors")
	compose(`      com.docker.network.bridge.enable_ip_masquerade: "false"`+"\n", "", "network monitors")
	compose("  databases: {internal: true}\n", "", "network databases")
	compose("networks: [databases, monitors]", "networks: [databases, monitors, default]", "network default")
	compose("    networks: [databases]\n", "", "database: has the default network")

	docker := func(old, with, want string) {
		t.Helper()
		f(checkDockerfile, "Dockerfile", old, with, want)
	}
	docker("golang:1.26.8-bookworm@sha256:a688", "golang:1.26.8-bookworm@sha256:a6", "FROM golang")
	docker("FROM debian:bookworm-20260918-slim@sha256:", "FROM debian@sha256:", "FROM debian")
	docker("USER 65532:65532", "USER 0:0", "USER")
	docker("USER 65532:65532", "USER 65532:65532\nUSER root", "USER")
	docker("ENV WAL2VEC_CACHE=/var/cache/wal2vec", "ENV WAL2VEC_CACHE=/var/cache/wal2vec PGPASSWORD=x", "PGPASSWORD")
	docker("ENV WAL2VEC_CACHE=/var/cache/wal2vec", "ARG HTTP_TOKEN", "HTTP_TOKEN")
	docker("ENV WAL2VEC_HTTP_ALLOWED_HOSTS=localhost\n", "", "answers to any name")
	docker("COPY --from=build /src/LICENSE", "COPY . /", "the last stage copies")
	docker("COPY --from=build /src/LICENSE", "ADD https://x.example/y /", "the last stage copies")

	units := func(unit, old, with, want string) {
		t.Helper()
		other := map[string]string{"systemd/wal2vec.service": "systemd/wal2vec-backfill.service", "systemd/wal2vec-backfill.service": "systemd/wal2vec.service"}[unit]
		f(func(content string) []string { return checkUnits(content, deployFile(t, other)) }, unit, old, with, want)
	}
	for _, unit := range []string{"systemd/wal2vec.service", "systemd/wal2vec-backfill.service"} {
		units(unit, "LimitCORE=0", "LimitCORE=infinity", "LimitCORE=0")
		units(unit, "MemoryMax=4G\n", "", "MemoryMax=")
		units(unit, "IPAddressDeny=any\n", "", "IPAddressDeny=any")
		units(unit, "ProtectClock=yes\n", "", "differ")
		units(unit, "LoadCredential=source-dsn", "LoadCredential=dsn", "credential")
		units(unit, "_DSN_FILE=%d/source-dsn", "_DSN=postgres://me:x@db", "WAL2VEC_SOURCE_DSN")
	}
}

// TestDeployEnvironmentsLoad: what the units and the compose file set are settings that the program
// takes, with a secret in each file.
func TestDeployEnvironmentsLoad(t *testing.T) {
	t.Parallel()
	var file composeFile
	if err := yaml.Unmarshal([]byte(deployFile(t, "compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	unit := map[string]string{}
	for line := range strings.Lines(deployFile(t, "systemd/wal2vec.service") + deployFile(t, "systemd/wal2vec.env")) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "Environment=")
		if name, value, found := strings.Cut(line, "="); found && strings.HasPrefix(name, "WAL2VEC_") {
			unit[name] = value
		}
	}
	for place, env := range map[string]map[string]string{"compose.yaml": file.Services["wal2vec"].Environment, "units": unit} {
		for name := range env {
			if strings.HasSuffix(name, "_FILE") {
				env[name] = filepath.Join(t.TempDir(), "secret")
				if err := os.WriteFile(env[name], []byte("postgres://me:s3cret@db/app\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		c, err := config.Load(config.Sources{Env: env})
		if err != nil || c.Source.DSN.Reveal() != "postgres://me:s3cret@db/app" || c.Log.Format != "json" {
			t.Errorf("%s: source %s, log %s: %v", place, c.Source.DSN, c.Log.Format, err)
		}
	}
}

// TestLinksBetweenDocumentsLead: each relative link of a document is to a file that is there, and
// README leads to how faults are reported.
func TestLinksBetweenDocumentsLead(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	found := map[string]bool{}
	for _, pattern := range []string{"*.md", "docs/*.md", "models/*.md", "deploy/*/*.md"} {
		documents, err := filepath.Glob(filepath.Join("..", "..", "..", pattern))
		if err != nil || len(documents) == 0 {
			t.Fatalf("%s: %d documents, %v", pattern, len(documents), err)
		}
		for _, document := range documents {
			content, err := os.ReadFile(document)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range link.FindAllStringSubmatch(string(content), -1) {
				target := filepath.Join(filepath.Dir(document), match[1])
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s links to %s, which is not there", document, match[1])
				}
				found[filepath.Base(document)+" "+filepath.Base(target)] = true
			}
		}
	}
	for _, want := range []string{"README.md SECURITY.md", "SECURITY.md ARCHITECTURE.md"} {
		if from, to, _ := strings.Cut(want, " "); !found[want] {
			t.Errorf("%s does not link to %s", from, to)
		}
	}
}

func deployFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

type composeFile struct {
	Services map[string]service           `yaml:"services"`
	Secrets  map[string]map[string]string `yaml:"secrets"`
	Networks map[string]network           `yaml:"networks"`
}

type network struct {
	Internal bool              `yaml:"internal"`
	Options  map[string]string `yaml:"driver_opts"`
}

// service is what is looked at of a service in a compose file.
type service struct {
	Image       string            `yaml:"image"`
	Build       map[string]string `yaml:"build"`
	User        string            `yaml:"user"`
	ReadOnly    bool              `yaml:"read_only"`
	CapAdd      []string          `yaml:"cap_add"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
	Ulimits     map[string]any    `yaml:"ulimits"`
	Privileged  bool              `yaml:"privileged"`
	NetworkMode string            `yaml:"network_mode"`
	PID         string            `yaml:"pid"`
	Ports       []any             `yaml:"ports"`
	Networks    []string          `yaml:"networks"`
	Volumes     []string          `yaml:"volumes"`
	Secrets     []string          `yaml:"secrets"`
	Environment map[string]string `yaml:"environment"`
}

var (
	pinned = regexp.MustCompile(`^[a-z0-9./-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}$`)
	secret = regexp.MustCompile(`(?i)(password|secret|token|dsn|pgpass|credential)`)
)

// checkCompose returns what a compose file opens.
func checkCompose(content string) []string {
	var file composeFile
	if err := yaml.Unmarshal([]byte(content), &file); err != nil {
		return []string{"compose.yaml: " + err.Error()}
	}
	var wrong []string
	if len(file.Services) == 0 {
		wrong = append(wrong, "compose.yaml: has no service")
	}
	for name, s := range file.Services {
		for _, what := range slices.Concat(s.locked(), s.reached(), s.told()) {
			wrong = append(wrong, "compose.yaml: "+name+": "+what)
		}
	}
	for name, s := range file.Services {
		if len(s.Networks) == 0 {
			wrong = append(wrong, "compose.yaml: "+name+": has the default network, which leads out")
		}
		for _, on := range s.Networks {
			if n := file.Networks[on]; !n.Internal && n.Options["com.docker.network.bridge.enable_ip_masquerade"] != "false" {
				wrong = append(wrong, "compose.yaml: "+name+": network "+on+" leads out of the machine")
			}
		}
	}
	for name, from := range file.Secrets {
		if !strings.HasPrefix(from["file"], "secrets/") || len(from) != 1 {
			wrong = append(wrong, "compose.yaml: secret "+name+" is no file below secrets, which git and the image leave out")
		}
	}
	return wrong
}

// locked returns the rights that a service has beyond its need.
func (s service) locked() []string {
	var wrong []string
	ask := func(holds bool, what string) {
		if !holds {
			wrong = append(wrong, what)
		}
	}
	ask(s.ReadOnly, "read_only is not true")
	ask(slices.Equal(s.CapDrop, []string{"ALL"}) && len(s.CapAdd) == 0, "cap_drop is not ALL, or cap_add gives some back")
	ask(slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}), "security_opt is not no-new-privileges:true alone")
	ask(s.Ulimits["core"] == 0, "ulimits allow core files")
	ask(s.User != "" && s.User != "root" && !strings.HasPrefix(s.User, "0"), "user is root")
	ask(!s.Privileged, "privileged is true")
	ask(s.NetworkMode == "" && s.PID == "", "network_mode or pid shares the machine's")
	ask(len(s.Build) > 0 && s.Image == "" || pinned.MatchString(s.Image), "image has no tag and digest")
	return wrong
}

// reached returns the ports that other machines reach and the paths of this one that a service
// reaches.
func (s service) reached() []string {
	var wrong []string
	for _, port := range s.Ports {
		text, _ := port.(string)
		host, _, _ := strings.Cut(text, ":")
		if address, err := netip.ParseAddr(host); err != nil || !address.IsLoopback() {
			wrong = append(wrong, fmt.Sprintf("publishes %v to more than 127.0.0.1", port))
		}
	}
	for _, volume := range s.Volumes {
		if strings.HasPrefix(volume, "/") || strings.HasPrefix(volume, ".") || strings.HasPrefix(volume, "~") {
			wrong = append(wrong, "mounts "+volume+" of the machine")
		}
	}
	return wrong
}

// told returns what is wrong with the variables of a service: secrets that are no files, and names
// that wal2vec does not know.
func (s service) told() []string {
	known := map[string]bool{}
	for _, setting := range config.Settings() {
		known[setting.Env], known[setting.Env+"_FILE"] = true, true
	}
	known["WAL2VEC_DOTENV"] = true
	var wrong []string
	if s.Environment["WAL2VEC_SOURCE_DSN_FILE"] != "" && len(s.Ports) > 0 {
		for _, name := range []string{"WAL2VEC_HTTP_TOKEN_FILE", "WAL2VEC_HTTP_ALLOWED_HOSTS"} {
			if s.Environment[name] == "" {
				wrong = append(wrong, "publishes a port without "+name)
			}
		}
	}
	for name, value := range s.Environment {
		switch at, isSecret := strings.CutPrefix(value, "/run/secrets/"); {
		case secret.MatchString(name) && !strings.HasSuffix(name, "_FILE"):
			wrong = append(wrong, name+" is no file")
		case secret.MatchString(name) && (!isSecret || !slices.Contains(s.Secrets, at)):
			wrong = append(wrong, name+" is no secret of the service")
		case strings.HasPrefix(name, "WAL2VEC_") && !known[name]:
			wrong = append(wrong, name+" is no setting")
		}
	}
	return wrong
}

// checkDockerfile returns what an image takes in that it should not.
func checkDockerfile(content string) []string {
	var wrong, last []string
	user := ""
	stages := map[string]bool{}
	for line := range strings.Lines(strings.ReplaceAll(content, "\\\n", " ")) {
		words := strings.Fields(line)
		if len(words) < 2 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch words[0] {
		case "FROM":
			if !pinned.MatchString(words[1]) && !stages[words[1]] {
				wrong = append(wrong, "Dockerfile: FROM "+words[1]+" names no tag with its digest")
			}
			stages[words[len(words)-1]] = true
			user, last = "", nil
		case "USER":
			user = words[1]
		case "ENV", "ARG":
			if secret.MatchString(line) && !strings.Contains(line, "_FILE=") {
				wrong = append(wrong, "Dockerfile: keeps a secret in a layer: "+strings.TrimSpace(line))
			}
		case "COPY", "ADD":
			last = append(last, words[1])
		}
	}
	if !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(user) {
		wrong = append(wrong, "Dockerfile: the last USER is "+user+", which is not the number of one without rights")
	}
	if env := imageEnvironment(content); env["WAL2VEC_HTTP_LISTEN"] != "" && env["WAL2VEC_HTTP_ALLOWED_HOSTS"] == "" {
		wrong = append(wrong, "Dockerfile: listens beyond loopback and answers to any name: WAL2VEC_HTTP_ALLOWED_HOSTS is not set")
	}
	for _, from := range last {
		if from != "--from=build" {
			wrong = append(wrong, "Dockerfile: the last stage copies "+from+", not what was built")
		}
	}
	return wrong
}

// Lines of a unit that are the command's own, not the sandbox's.
var unitOwn = regexp.MustCompile(`^(Type|ExecStart|Restart|RestartSec|RestartPreventExitStatus|KillSignal|TimeoutStartSec|TimeoutStopSec|Nice)=`)

// checkUnits returns where one unit is less strict than the other, or than both must be.
func checkUnits(stream, backfill string) []string {
	var wrong []string
	lines := func(unit string) []string {
		_, section, _ := strings.Cut(unit, "[Service]\n")
		section, _, _ = strings.Cut(section, "\n[")
		var kept []string
		for line := range strings.Lines(section) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !unitOwn.MatchString(line) {
				kept = append(kept, line)
			}
		}
		return kept
	}
	a, b := lines(stream), lines(backfill)
	if !slices.Equal(a, b) {
		wrong = append(wrong, fmt.Sprintf("the units differ beyond their commands:\n%s\n%s", strings.Join(a, " "), strings.Join(b, " ")))
	}
	for _, unit := range [][]string{a, b} {
		for _, must := range []string{
			"LimitCORE=0", "MemorySwapMax=0", "MemoryMax=", "MemoryDenyWriteExecute=yes", "IPAddressDeny=any", "IPAddressAllow=localhost", "DynamicUser=yes", "UMask=0077",
			"PrivateUsers=yes", "ProtectProc=invisible", "NoNewPrivileges=yes", "SystemCallFilter=@system-service", "LoadCredential=source-dsn:/etc/wal2vec/source-dsn",
		} {
			if !slices.ContainsFunc(unit, func(line string) bool {
				return line == must || strings.HasSuffix(must, "=") && strings.HasPrefix(line, must)
			}) {
				wrong = append(wrong, "a unit lacks "+must)
			}
		}
		for _, line := range unit {
			if name, value, _ := strings.Cut(strings.TrimPrefix(line, "Environment="), "="); strings.HasPrefix(line, "Environment=") && secret.MatchString(name) {
				id, isCredential := strings.CutPrefix(value, "%d/")
				if !strings.HasSuffix(name, "_FILE") || !isCredential || !slices.ContainsFunc(unit, func(l string) bool { return strings.HasPrefix(l, "LoadCredential="+id+":") }) {
					wrong = append(wrong, "a unit sets "+name+" to something that is no credential of its own")
				}
			}
		}
	}
	return wrong
}
