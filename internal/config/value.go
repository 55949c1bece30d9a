package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// value reads and prints the text form of one field of a Config. Set fails with a rule in plain
// words.
type value interface {
	Set(text string) error
	String() string
}

type text string

func (v *text) Set(s string) error { *v = text(s); return nil }
func (v *text) String() string     { return string(*v) }

// word is a text that is one of a few, in lower case.
type word struct {
	to    *string
	words []string
	alias map[string]string
}

func (v word) Set(s string) error {
	s = strings.ToLower(strings.TrimSpace(s))
	if name, found := v.alias[s]; found {
		s = name
	}
	if slices.Contains(v.words, s) {
		*v.to = s
		return nil
	}
	return fmt.Errorf("must be one of %s", strings.Join(v.words, ", "))
}

func (v word) String() string { return *v.to }

// offText is a text for which "off" is another way to write nothing.
type offText string

func (v *offText) Set(s string) error {
	if strings.EqualFold(s, "off") {
		s = ""
	}
	*v = offText(s)
	return nil
}

func (v *offText) String() string { return string(*v) }

type number int

func (v *number) Set(s string) error {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		return errors.New("must be a whole number")
	}
	*v = number(n)
	return nil
}

func (v *number) String() string { return strconv.Itoa(int(*v)) }

const unlimited = "unlimited"

// rate is a number for which nil is the word "unlimited".
type rate struct{ to **int }

func (v rate) Set(s string) error {
	if strings.EqualFold(strings.TrimSpace(s), unlimited) {
		*v.to = nil
		return nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		return errors.New("must be a whole number of rows a second, or the word unlimited")
	}
	*v.to = &n
	return nil
}

func (v rate) String() string {
	if *v.to == nil {
		return unlimited
	}
	return strconv.Itoa(**v.to)
}

type boolean bool

func (v *boolean) Set(s string) error {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "yes", "on", "1":
		*v = true
	case "false", "no", "off", "0":
		*v = false
	default:
		return errors.New("must be true or false")
	}
	return nil
}

func (v *boolean) String() string { return strconv.FormatBool(bool(*v)) }

type duration time.Duration

func (v *duration) Set(s string) error {
	s = strings.TrimSpace(s)
	d, err := time.ParseDuration(s)
	if err != nil {
		if _, err := strconv.ParseFloat(s, 64); err == nil {
			return fmt.Errorf("needs a unit, as in %sms or %ss", s, s)
		}
		return errors.New("must be a duration such as 200ms, 10s or 5m")
	}
	*v = duration(d)
	return nil
}

// String drops the zero units that time.Duration prints: 5m, not 5m0s.
func (v *duration) String() string {
	s := time.Duration(*v).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

type size int64

// units, the largest first, so that String finds the shortest form.
var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}}

func (v *size) Set(s string) error {
	rule := errors.New("must be a size such as 8MiB, 512KiB or 8388608 (bytes)")
	digits, factor := strings.TrimSpace(s), int64(1)
	for _, unit := range units {
		cut := len(digits) - len(unit.name)
		if cut > 0 && strings.EqualFold(digits[cut:], unit.name) {
			digits, factor = strings.TrimSpace(digits[:cut]), unit.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(digits, 64)
	bytes := n * float64(factor)
	if err != nil || bytes != bytes || bytes > 1<<62 || bytes < -(1<<62) {
		return rule
	}
	*v = size(bytes)
	return nil
}

func (v *size) String() string {
	for _, unit := range units[:3] {
		if n := int64(*v); n >= unit.bytes && n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(*v), 10)
}

// columns is a list; YAML sets it item by item.
type columns struct{ to *[]string }

func (v columns) Set(s string) error {
	if strings.TrimSpace(s) == "" { // where the setting may be empty
		*v.to = nil
		return nil
	}
	list, err := parseColumns(s)
	if err != nil {
		return err
	}
	*v.to = list
	return nil
}

func (v columns) String() string { return formatColumns(*v.to) }

type nameValue struct{ to *Name }

func (v nameValue) Set(s string) error {
	name, err := ParseName(s)
	if err != nil {
		return err
	}
	*v.to = name
	return nil
}

func (v nameValue) String() string { return v.to.String() }

type template struct{ to *change.Template }

func (v template) Set(s string) error {
	t, err := change.ParseTemplate(s)
	if err != nil {
		return err
	}
	*v.to = t
	return nil
}

func (v template) String() string { return v.to.String() }

type dsn struct{ to *DSN }

func (v dsn) Set(s string) error {
	s = strings.TrimSpace(s)
	if s != "" {
		if err := checkDSN(s); err != nil {
			return err
		}
	}
	*v.to = DSN(s)
	return nil
}

func (v dsn) String() string { return v.to.String() }

type secret struct{ to *Secret }

func (v secret) Set(s string) error {
	*v.to = Secret(s)
	return nil
}

func (v secret) String() string { return v.to.String() }
