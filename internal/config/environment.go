package config

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/joho/godotenv"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/safefile"
)

// mlWatermark is the one variable of the usual embedding scripts whose meaning is turned round:
// without a watermark, a backfill encodes everything.
const mlWatermark = "ML_ENABLE_WATERMARK"

// foreign lists the WAL2VEC_* variables that are no settings: paths of parts and the file, and what
// tests and scripts use.
var foreign = []string{"WAL2VEC_CACHE", "WAL2VEC_CONFIG", "WAL2VEC_HOME", "WAL2VEC_PARTS", dotEnvSwitch, safefile.TrustVariable}

// dotEnvSwitch says whether a .env file is read: on, the default, or off.
const dotEnvSwitch = "WAL2VEC_DOTENV"

// Folders are variables of the process itself, which no .env file sets: what is in those folders is
// run.
var Folders = []string{"WAL2VEC_CACHE", "WAL2VEC_HOME", "WAL2VEC_PARTS"}

const testPrefix = "WAL2VEC_TEST_"

func itoa(n int) string { return strconv.Itoa(n) }

// variable is the value of an environment variable and the file it stood in, empty for the real
// environment.
type variable struct {
	text string
	file string
}

// environment is the real environment above a .env file.
type environment map[string]variable

func (l *loader) newEnvironment(s Sources) (environment, error) {
	env := environment{}
	reads := s.DotEnv != ""
	switch s.Env[dotEnvSwitch] {
	case "", "on":
	case "off":
		reads = false
	default:
		return nil, fault.New(fault.Usage, "export "+dotEnvSwitch+"=off", "configuration: %s must be on or off", dotEnvSwitch)
	}
	if reads {
		if err := l.readDotEnv(env, s.DotEnv); err != nil {
			return nil, err
		}
	}
	for _, name := range Folders {
		if _, found := env.lookup(name); found && s.Env[name] == "" {
			l.warn(fault.New(fault.Usage, "export "+pgname.Shell(name), "%s has no effect in a .env file", name))
		}
	}
	for _, name := range []string{dotEnvSwitch, safefile.TrustVariable} {
		if _, found := env[name]; found {
			l.fault(name, Origin{Kind: FromEnvironment, File: s.DotEnv}, "has no effect in a .env file; export it")
		}
	}
	for name, text := range s.Env {
		env[name] = variable{text: text}
	}
	return env, nil
}

func (e environment) lookup(name string) (variable, bool) {
	v, found := e[name]
	return v, found && v.text != ""
}

// outside reports whether the real environment sets a variable.
func (e environment) outside(name string) bool {
	v, found := e.lookup(name)
	return found && v.file == ""
}

// readDotEnv reads a .env file into the environment. One that another account could have written is
// passed over with a warning, and so is a folder of that name, as some make for Python, or another
// thing that is no file.
func (l *loader) readDotEnv(env environment, path string) error {
	content, err := safefile.ReadTrusted(path, mostDotEnvBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if kind, ok := errors.AsType[*safefile.KindError](err); ok {
		l.warn(fault.New(fault.Usage, "export "+dotEnvSwitch+"=off", "%s is not read: it %s", path, kind.Why()))
		return nil
	}
	if problem := safefile.Check(path); err != nil && problem != nil {
		try := "move it to a folder that this account can look at, or export " + dotEnvSwitch + "=off"
		if open, ok := errors.AsType[*safefile.Error](problem); ok {
			try = open.Try
		}
		l.warn(fault.Wrap(problem, fault.Usage, try, "the file %s is not read", path))
		return nil
	}
	if err != nil {
		return unreadable(err, path)
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	variables, err := godotenv.UnmarshalBytes(content)
	if err != nil {
		// The parser's message quotes the file, passwords included: only the line goes on.
		return fault.New(fault.Usage, "write NAME=value, with quotes around a value that holds spaces or #",
			"configuration: %s:%d: is not NAME=value", path, badLine(content))
	}
	l.dotEnv = path
	for name, text := range variables {
		env[name] = variable{text: text, file: path}
	}
	return nil
}

// badLine finds the line, from 1, behind the last one up to which the file can be read, looking at
// no value of more than longest lines: each is read once for every line of it.
func badLine(content []byte) int {
	const longest = 200
	lines := bytes.SplitAfter(content, []byte("\n"))
	last := 0
	for n := 1; n <= min(len(lines), last+longest); n++ {
		if _, err := godotenv.UnmarshalBytes(bytes.Join(lines[last:n], nil)); err == nil {
			last = n
		}
	}
	return min(last+1, len(lines))
}

// readEnvironment applies the ML_* and then the WAL2VEC_* variables, and refuses those that no one
// knows.
func (l *loader) readEnvironment(env environment) {
	known := slices.Clone(foreign)
	for _, s := range l.settings {
		l.readML(s, env)
		l.readVariable(s, env)
		known = append(known, s.env())
		if s.file {
			known = append(known, s.env()+"_FILE")
		}
	}
	var unknown []string
	for name := range env {
		if strings.HasPrefix(name, envPrefix) && !strings.HasPrefix(name, testPrefix) && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	sort.Strings(unknown)
	for _, name := range unknown {
		l.unknown(name, Origin{Kind: FromEnvironment, File: env[name].file}, "is not a setting"+didYouMean(name, known))
	}
}

func (l *loader) readVariable(s setting, env environment) {
	name := s.env()
	v, found := env[name]
	if s.empty == "" || s.file {
		v, found = env.lookup(name) // an empty one is what is left of NAME=$UNSET
	}
	if found {
		l.set(s, v.text, Origin{Kind: FromEnvironment, Name: name, File: v.file})
	}
	if !s.file {
		return
	}
	file, fileFound := env.lookup(name + "_FILE")
	if !fileFound {
		return
	}
	o := Origin{Kind: FromEnvironment, Name: name + "_FILE", File: file.file}
	if found && v.file == file.file {
		l.fault(s.path, o, "is also set by "+name+"; keep one of them")
		return
	}
	if found && file.file != "" {
		return // the real environment has the value itself
	}
	l.setFromFile(s, file.text, o)
}

func (l *loader) readML(s setting, env environment) {
	v, found := env.lookup(s.ml)
	if !found {
		return
	}
	o := Origin{Kind: FromML, Name: s.ml, File: v.file}
	if s.ml != mlWatermark {
		l.set(s, v.text, o)
		return
	}
	var watermark boolean
	if err := watermark.Set(v.text); err != nil {
		l.fault(s.ml, o, err.Error())
		return
	}
	l.set(s, strconv.FormatBool(!bool(watermark)), o)
}
