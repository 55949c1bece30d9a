package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// Sources names everything that Load reads. The zero Sources gives the defaults.
type Sources struct {
	// File is the YAML file; empty takes the one that WAL2VEC_CONFIG names, if any.
	File string
	// Env is the environment; see Environ.
	Env map[string]string
	// DotEnv is the path of a .env file, read below Env. It need not exist; empty reads none. One
	// that another account could change is not read, with a warning; WAL2VEC_DOTENV=off in Env has
	// none read.
	DotEnv string
	// Flags are the flags that were given, in their order.
	Flags []Flag
}

// Flag is a flag that sets a setting.
type Flag struct {
	// Name is the flag as people type it: "--device".
	Name string
	// Path is the setting: "encoder.device".
	Path  string
	Value string
}

// Environ turns os.Environ() into the form that Sources takes.
func Environ(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, found := strings.Cut(entry, "="); found {
			env[name] = value
		}
	}
	return env
}

// Load reads all sources and checks the result. Every fault of every source is in the error, which
// is a fault.Error of kind Usage with FaultsError as its cause. The Config is filled as far as it
// could be read even then, for printing.
func Load(s Sources) (Config, error) {
	l := loader{config: Default()}
	l.settings = l.config.settings()
	env, err := l.newEnvironment(s)
	if err != nil {
		return l.config, err
	}
	file := s.File
	if v, found := env.lookup(envPrefix + "CONFIG"); file == "" && found {
		file, l.relative = v.text, v.file == "" && !filepath.IsAbs(v.text)
		if v.file != "" || l.relative {
			l.dotEnvConfig = file
		}
	}
	if err := l.readFile(file); err != nil {
		return l.config, err
	}
	l.readEnvironment(env)
	l.readFlags(s.Flags)
	l.readLibpq(env)
	l.checkHub()
	l.checkServed()
	l.config.derive()
	l.faults = append(l.faults, l.config.check(l.broken)...)
	return l.config, l.faults.err()
}

// loader applies one source after the other, the weakest first.
type loader struct {
	config   Config
	settings []setting
	faults   FaultsError
	broken   map[string]bool // settings whose last value could not be read: no rule is checked on what they held before
	// dotEnv is the .env file where it was read, dotEnvConfig the settings file that it names, or
	// that the environment names by a relative name: then relative is true, and what that file says
	// counts as if .env named it; see here.
	dotEnv, dotEnvConfig string
	relative             bool
	mounted              map[string]string // the files of settings whose value is the content of a file of its own
}

func (l *loader) find(path string) (setting, bool) {
	for _, s := range l.settings {
		if s.path == path {
			return s, true
		}
	}
	return setting{}, false
}

func (l *loader) fault(field string, o Origin, ruleText string) {
	l.faults = append(l.faults, Fault{Field: field, Origin: o, Rule: ruleText})
}

// unknown is fault for a name that may be anything, a misplaced connection string included.
func (l *loader) unknown(name string, o Origin, ruleText string) { l.fault(Spelt(name), o, ruleText) }

// set gives a setting a value, or notes why it cannot be.
func (l *loader) set(s setting, text string, o Origin) {
	if text == "" && s.empty == "" {
		l.setBroken(s, text, o, "must not be empty")
		return
	}
	if !readable(text) {
		l.setBroken(s, "", o, mustBeReadable)
		return
	}
	if err := s.value.Set(text); err != nil {
		l.setBroken(s, text, o, err.Error())
		return
	}
	l.accept(s, o)
}

const mustBeReadable = "must be UTF-8 without a zero byte"

// readable reports whether Postgres and YAML can carry the text at all.
func readable(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\x00") }

func (l *loader) accept(s setting, o Origin) {
	delete(l.broken, s.path)
	delete(l.mounted, s.path)
	l.config.setOrigin(s.path, o)
}

func (l *loader) setBroken(s setting, text string, o Origin, ruleText string) {
	if l.broken == nil {
		l.broken = map[string]bool{}
	}
	l.broken[s.path] = true
	f := Fault{Field: s.path, Value: text, Origin: o, Rule: ruleText}
	if s.file && text != "" {
		f.Value = stars // it could not be read, so no one knows which part of it is the password
	}
	l.faults = append(l.faults, f)
}

// The most bytes that a file of each kind may have: each is read into memory as a whole.
const (
	mostSettingsBytes = 1 << 20
	mostDotEnvBytes   = 64 << 10
	mostSecretBytes   = 64 << 10
)

// setFromFile gives a setting the content of a mounted secret.
func (l *loader) setFromFile(s setting, path string, o Origin) {
	checked := safefile.Check(path)
	content, err := safefile.Read(path, mostSecretBytes)
	if err != nil {
		l.faults = append(l.faults, Fault{Field: s.path + "_file", Value: path, Origin: o, Rule: "cannot be read: " + cause(err)})
		return
	}
	if problem, ok := errors.AsType[*safefile.Error](safefile.CheckSecret(path)); ok {
		l.warn(fault.Wrap(problem, fault.Usage, problem.Try, "%s_file is a file that holds a secret", s.path))
	}
	l.set(s, strings.TrimSpace(string(content)), o)
	if l.mounted == nil {
		l.mounted = map[string]string{}
	}
	l.mounted[s.path] = path
	if problem, open := errors.AsType[*safefile.Error](checked); open && l.here(s.path) {
		l.fault(s.path+"_file", o, "is not read: "+problem.Error()+l.inFull(s.path))
	}
}

// warn keeps what does not end the load.
func (l *loader) warn(err error) { l.config.warnings = append(l.config.warnings, err) }

func (l *loader) readFlags(flags []Flag) {
	for _, f := range flags {
		o := Origin{Kind: FromFlag, Name: f.Name}
		if path, found := strings.CutSuffix(f.Path, "_file"); found {
			if s, found := l.find(path); found && s.file {
				l.setFromFile(s, f.Value, o)
				continue
			}
		}
		s, found := l.find(f.Path)
		if !found {
			l.unknown(f.Path, o, "is not a setting"+didYouMean(f.Path, l.paths()))
			continue
		}
		l.set(s, f.Value, o)
	}
}

func (l *loader) paths() []string {
	paths := make([]string, 0, len(l.settings))
	for _, s := range l.settings {
		paths = append(paths, s.path)
		if s.file {
			paths = append(paths, s.path+"_file")
		}
	}
	return paths
}

// cause drops the path from a file error: the caller that prints it has named the file.
func cause(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err.Error()
	}
	if kind, ok := errors.AsType[*safefile.KindError](err); ok {
		return kind.Why()
	}
	if size, ok := errors.AsType[*safefile.SizeError](err); ok {
		return size.Why()
	}
	return err.Error()
}

// unreadable is the error for a file that was asked for and is not there.
func unreadable(err error, path string) error {
	return fault.New(fault.Usage, "give the path of a readable file", "configuration file %q cannot be read: %s", path, cause(err))
}
