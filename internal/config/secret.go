package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/wal2vec/wal2vec/internal/pgname"
)

const stars = "*****"

// Secret is a value that is never printed: formatting it gives stars. Reveal returns it.
type Secret string

// String returns stars, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return stars
}

// GoString is String; %#v would print the value otherwise.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String, for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// DSN is a connection string; formatting it hides its passwords. Reveal returns it as pgx wants it.
type DSN string

// String returns the connection string with stars for its passwords.
func (d DSN) String() string { return maskDSN(string(d)) }

// GoString is String; %#v would print the value otherwise.
func (d DSN) GoString() string { return d.String() }

// MarshalText is String, for JSON and YAML.
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Reveal returns the connection string with its passwords.
func (d DSN) Reveal() string { return string(d) }

// secretKey reports whether a connection parameter is a password or seems to be one: password,
// sslpassword, oauth_client_secret, pwd.
func secretKey(key string) bool {
	key = strings.ToLower(key)
	parts := []string{"pass", "pwd", "secret", "kennwort", "scram_"}
	return key != "passfile" && slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(key, part) })
}

// cutScheme splits a connection URL behind its scheme.
func cutScheme(dsn string) (scheme, rest string, isURL bool) {
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if rest, found := strings.CutPrefix(dsn, scheme); found {
			return scheme, rest, true
		}
	}
	return "", dsn, false
}

func maskDSN(dsn string) string {
	if dsn == "" {
		return ""
	}
	if scheme, rest, isURL := cutScheme(dsn); isURL {
		return scheme + maskURL(rest, hiddenKey)
	}
	pairs, ok := parsePairs(dsn)
	if !ok || slices.ContainsFunc(pairs, func(p pair) bool { return !keyword.MatchString(p.key) }) {
		return stars // perhaps a password in the wrong place
	}
	var b strings.Builder
	for i, pair := range pairs {
		if i > 0 {
			b.WriteByte(' ')
		}
		value := pgname.Conninfo(pair.value)
		if hiddenKey(pair.key) && pair.value != "" {
			value = stars
		}
		b.WriteString(pair.key + "=" + value)
	}
	return b.String()
}

// maskURL takes everything up to the last @ for user and password: a password with an unescaped @
// or / must not show either.
func maskURL(rest string, hidden func(key string) bool) string {
	head := ""
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if _, query, found := strings.Cut(rest[:at], "?"); found && !shows(query, hidden) {
			return stars // an @ behind a password parameter: no one can say where the password ends
		}
		head = rest[:at+1]
		if user, password, _ := strings.Cut(rest[:at], ":"); password != "" {
			head = user + ":" + stars + "@"
		}
		rest = rest[at+1:]
	}
	path, query, found := strings.Cut(rest, "?")
	if !found {
		return head + path
	}
	params := strings.Split(query, "&")
	for i, param := range params {
		switch key, value, pair := strings.Cut(param, "="); {
		case shows(param, hidden), pair && value == "":
		case pair:
			params[i] = key + "=" + stars
		default:
			params[i] = stars
		}
	}
	return head + path + "?" + strings.Join(params, "&")
}

// shows reports whether the parameters of a URL are all of those that are printed.
func shows(query string, hidden func(key string) bool) bool {
	for param := range strings.SplitSeq(query, "&") {
		key, _, pair := strings.Cut(param, "=")
		if plain, err := url.QueryUnescape(key); param != "" && (!pair || err != nil || hidden(plain)) {
			return false
		}
	}
	return true
}

var (
	// quotedURL is urlPassword where the address stands in quotes, as a message has what a person
	// typed: a password in it may hold spaces and quotes.
	quotedURL   = regexp.MustCompile(`("(?:[^"\\]|\\.)*?://[^\s:@/"]*):(?:[^"\\]|\\.)*@`)
	urlPassword = regexp.MustCompile(`(://[^\s:@/]*):[^\s"]*@`)
	webUser     = regexp.MustCompile(`(?i)(https?://)[^\s"/@*]+@`)
	parameter   = regexp.MustCompile(`([?&])([^=&?\s"]+)=([^\s&"]+)`)
	// In most messages the value is quoted once more: four backslashes are one of the value then,
	// two keep what follows from ending it.
	namedSecrets = regexp.MustCompile(`(?i)((?:^|[^?&a-z_])(?:[a-z_]*(?:password|passwort|passwd|passphrase|kennwort|pwd|secret)[a-z_]*|pass)\s*=\s*)` +
		`('(?:[^'\\]|\\{4}|\\{1,3}[^\\])*'?|(?:[^\s"\\]|\\{4}|\\{1,3}[^\\])+)`)
	hubToken = regexp.MustCompile(`\bhf_[A-Za-z0-9]{30,}`)
)

// Scrub masks the passwords of addresses and connection strings anywhere in a text, and tokens of
// Hugging Face: the last resort for messages that quote what a person typed in the wrong place.
func Scrub(text string) string {
	text = quotedURL.ReplaceAllString(text, "$1:"+stars+"@")
	text = urlPassword.ReplaceAllString(text, "$1:"+stars+"@")
	text = webUser.ReplaceAllString(text, "${1}"+stars+"@")
	text = parameter.ReplaceAllStringFunc(text, func(found string) string {
		key, _, _ := strings.Cut(found[1:], "=")
		if plain, err := url.QueryUnescape(key); err == nil && !secretKey(plain) && !secretParameter(plain) {
			return found
		}
		return found[:1] + key + "=" + stars
	})
	text = namedSecrets.ReplaceAllString(text, "${1}"+stars)
	return hubToken.ReplaceAllString(text, stars)
}

// secretParameter reports whether a parameter of an address other than a database's may be a
// secret.
func secretParameter(key string) bool {
	key = strings.ToLower(key)
	return slices.ContainsFunc([]string{"token", "passwd", "pwd", "apikey", "api_key", "api-key", "signature"}, func(word string) bool {
		return strings.Contains(key, word)
	})
}

type pair struct{ key, value string }

// parsePairs reads a key/value connection string by libpq's rules; ok is false when it is none.
func parsePairs(s string) (pairs []pair, ok bool) {
	const space = " \t\n\r\v\f"
	for s = strings.TrimLeft(s, space); s != ""; s = strings.TrimLeft(s, space) {
		key, rest, found := strings.Cut(s, "=")
		key = strings.Trim(key, space)
		if !found || key == "" || strings.ContainsAny(key, space) {
			return nil, false
		}
		rest = strings.TrimLeft(rest, space)
		quoted := strings.HasPrefix(rest, "'")
		if quoted {
			rest = rest[1:]
		}
		var value strings.Builder
		end := 0
		for ; end < len(rest); end++ {
			if rest[end] == '\\' && end+1 < len(rest) {
				end++
			} else if quoted && rest[end] == '\'' || !quoted && strings.IndexByte(space, rest[end]) >= 0 {
				break
			}
			value.WriteByte(rest[end])
		}
		if quoted {
			if end == len(rest) {
				return nil, false
			}
			end++
		}
		pairs, s = append(pairs, pair{key, value.String()}), rest[end:]
	}
	return pairs, len(pairs) > 0
}
