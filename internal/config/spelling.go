package config

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// A connection string in which a special character of the password is not written as it has to be
// leads elsewhere: pgx takes what stands behind the first @ for the host, and asks a name server
// for it. So what cannot be a host ends the program before anything is asked.

var (
	errForm   = errors.New("must be postgres://user@host:5432/database or host=HOST dbname=DATABASE user=USER")
	errEscape = errors.New("must have no special character in user and password but in the form %40 (@), %3A (:), %2F (/), %3F (?), %20 (a space)")
)

// checkDSN returns what a connection string must be where it has a form that a misplaced password
// has.
func checkDSN(s string) error {
	if _, rest, isURL := cutScheme(s); isURL {
		return checkURL(rest)
	}
	pairs, ok := parsePairs(s)
	if !ok || slices.ContainsFunc(pairs, func(p pair) bool { return !keyword.MatchString(p.key) }) {
		return errForm
	}
	odd := func(host string) bool { return !plainHost(strings.TrimPrefix(host, "@")) }
	for _, p := range pairs {
		if p.key == "host" && slices.ContainsFunc(strings.Split(p.value, ","), odd) {
			return errors.New("must have a host without a space, an @ or a colon; a value with a space stands in quotes: password='...'")
		}
	}
	return nil
}

func checkURL(rest string) error {
	if strings.ContainsAny(rest, "\x00\n") {
		return errors.New("must be one line")
	}
	if at := strings.IndexAny(rest, "@/"); at >= 0 && rest[at] == '@' {
		rest = rest[at+1:]
	}
	rest, _, _ = strings.Cut(rest, "?")
	hosts, database, _ := strings.Cut(rest, "/")
	if strings.ContainsRune(database, '@') {
		return errEscape
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if strings.HasPrefix(host, "[") {
			_, host, _ = strings.Cut(host, "]")
		}
		if name, port, _ := strings.Cut(host, ":"); strings.ContainsAny(name, "@ ") || strings.ContainsAny(port, "@: ") {
			return errEscape
		}
	}
	return nil
}

// plainHost reports whether a host of a key/value string is a folder, an address, or has the form
// of a name.
func plainHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return filepath.IsAbs(host) || err == nil || !strings.ContainsAny(host, "@: ")
}

// shown are the words of a connection string whose values are printed: libpq's and pgx's that hold
// no secret, and settings of a session that are often set there. Any other may be a password under
// a name that is none of libpq's (pwd, passwort).
var shown = append(slices.DeleteFunc(slices.Clone(harmless), secretKey),
	"database", "options", "replication", "role", "search_path", "timezone", "datestyle", "intervalstyle", "extra_float_digits", "bytea_output",
	"statement_timeout", "lock_timeout", "transaction_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout",
	"default_transaction_read_only", "default_transaction_isolation", "session_authorization", "standard_conforming_strings", "jit", "work_mem",
	"maintenance_work_mem", "synchronous_commit", "log_statement", "log_min_messages", "client_min_messages", "row_security", "wal2vec.pooler",
)

// hiddenKey reports whether the value of a word of a connection string is masked.
func hiddenKey(key string) bool { return !slices.Contains(shown, strings.ToLower(key)) }

// hubAddress is the address of a hub; its user may be a token, and is masked.
type hubAddress string

func (v *hubAddress) Set(s string) error { *v = hubAddress(s); return nil }

func (v *hubAddress) String() string {
	text := string(*v)
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return text
	}
	scheme, _, found := strings.Cut(text[:at], "://")
	if !found {
		return stars + text[at:]
	}
	return scheme + "://" + stars + text[at:]
}
