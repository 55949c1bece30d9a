package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// minPause keeps loops that wait from spinning.
const minPause = 10 * time.Millisecond

// rule returns what a value must be when it is not, and "" when it is. A nil rule holds always.
type rule func() string

func when(broken bool, must string) string {
	if broken {
		return must
	}
	return ""
}

func between(v *int, low, high int) rule {
	return func() string {
		return when(*v < low || *v > high, fmt.Sprintf("must be from %d to %d", low, high))
	}
}

func sizeBetween(v *int64, low, high int64) rule {
	return func() string {
		return when(*v < low || *v > high, fmt.Sprintf("must be from %s to %s", (*size)(&low), (*size)(&high)))
	}
}

func atLeast(v *time.Duration, low time.Duration) rule {
	return func() string { return when(*v < low, fmt.Sprintf("must be %s or more", (*duration)(&low))) }
}

func pauseOrNone(v *time.Duration) rule {
	least := minPause
	return func() string {
		return when(*v != 0 && *v < least, fmt.Sprintf("must be 0s, or %s or more", (*duration)(&least)))
	}
}

func optionalAtLeast(v **int, low int) rule {
	return func() string {
		return when(*v != nil && **v < low, fmt.Sprintf("must be %d or more, or unlimited", low))
	}
}

func notEmpty(v *string) rule {
	return func() string { return when(*v == "", "must not be empty") }
}

var pipelinePattern = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// pipelineName leaves room for the prefixes of tables, slots and indexes within 63 bytes.
func pipelineName(v *string) rule {
	return func() string {
		return when(!pipelinePattern.MatchString(*v), "must be 1 to 40 of a-z, 0-9 and _, not beginning with a digit")
	}
}

var slotPattern = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// slotName is Postgres' own rule for slots.
func slotName(v *string) rule {
	return func() string { return when(!slotPattern.MatchString(*v), "must be 1 to 63 of a-z, 0-9 and _") }
}

func objectName(v *string) rule {
	return func() string {
		return when(*v == "" || len(*v) > maxNameBytes, fmt.Sprintf("must be 1 to %d bytes", maxNameBytes))
	}
}

func optionalName(v *string) rule {
	return func() string {
		return when(len(*v) > maxNameBytes, fmt.Sprintf("must be at most %d bytes", maxNameBytes))
	}
}

func columnList(v *[]string) rule {
	return func() string {
		if len(*v) == 0 {
			return "must name at least one column"
		}
		for i, column := range *v {
			switch {
			case column == "":
				return "must not hold an empty name"
			case len(column) > maxNameBytes:
				return fmt.Sprintf("must hold names of at most %d bytes", maxNameBytes)
			case slices.Contains((*v)[:i], column):
				return fmt.Sprintf("must not name %s twice", column)
			}
		}
		return ""
	}
}

var hostPattern = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$`)

// hostList is names and addresses as they stand in a Host header, without port and brackets.
func hostList(v *[]string) rule {
	return func() string {
		for _, host := range *v {
			if _, err := netip.ParseAddr(host); err != nil && !hostPattern.MatchString(host) {
				return "must be host names or addresses without port, such as wal2vec.internal or 10.0.0.7"
			}
		}
		return ""
	}
}

func folderList(v *[]string) rule {
	return func() string {
		for _, folder := range *v {
			if !filepath.IsAbs(folder) {
				return "must hold whole paths, which begin with /"
			}
		}
		return ""
	}
}

func address(v *string) rule {
	const must = "must be host:port, or off"
	return func() string {
		if *v == "" {
			return ""
		}
		_, port, err := net.SplitHostPort(*v)
		if err != nil {
			return must
		}
		n, err := strconv.ParseUint(port, 10, 16)
		return when(err != nil || n > 65535, must)
	}
}

// webAddress is an address that a path can be joined to; a password in it would show in messages.
func webAddress(v *string) rule {
	return func() string {
		u, err := url.Parse(*v)
		good := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
		return when(!good, "must be an address such as https://huggingface.co, without user or query")
	}
}

// printable keeps out what a header cannot carry, such as the line end of a carelessly mounted
// secret.
func printable(v *Secret) rule {
	return func() string {
		for _, r := range string(*v) {
			if r <= ' ' || r > '~' {
				return "must be printable ASCII without spaces"
			}
		}
		return ""
	}
}
