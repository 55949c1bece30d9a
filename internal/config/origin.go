package config

import (
	"strconv"
	"strings"
)

// OriginKind orders the places a value can come from: a higher one wins.
type OriginKind int

// The kinds, the weakest first.
const (
	FromDefault     OriginKind = iota
	FromLibpq                  // PG* variables; connection strings only
	FromFile                   // the YAML file
	FromML                     // ML_* variables of the usual embedding scripts
	FromEnvironment            // WAL2VEC_* variables
	FromFlag
)

// Origin says where a value came from.
type Origin struct {
	Kind OriginKind
	// Name is the flag or variable.
	Name string
	// File is the file that held the value or the variable; empty for the real environment and for
	// flags.
	File string
	// Line is the line in a YAML file, 0 elsewhere.
	Line int
}

// String prints the origin for people: "flag --device", "environment WAL2VEC_LOG_LEVEL", ".env
// WAL2VEC_LOG_LEVEL", "wal2vec.yaml:12", "default".
func (o Origin) String() string {
	switch {
	case o.Kind == FromDefault:
		return "default"
	case o.Kind == FromFlag:
		return "flag " + o.Name
	case o.Kind == FromFile && o.Line == 0:
		return o.File
	case o.Kind == FromFile:
		return o.File + ":" + strconv.Itoa(o.Line)
	case o.File != "":
		return strings.TrimSpace(o.File + " " + o.Name)
	default:
		return strings.TrimSpace("environment " + o.Name)
	}
}

// Origin returns where the value of a setting, named by its path ("source.dsn"), came from.
func (c Config) Origin(path string) Origin { return c.origins[path] }

func (c *Config) setOrigin(path string, o Origin) {
	if c.origins == nil {
		c.origins = map[string]Origin{}
	}
	c.origins[path] = o
}
