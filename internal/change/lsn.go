package change

import (
	"database/sql/driver"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// LSN is a position in the write-ahead log: a byte offset from its beginning. Zero means "no
// position".
type LSN uint64

// LastLSN is a position that no log reaches.
const LastLSN LSN = math.MaxUint64

// ParseLSN reads the form that Postgres prints, two hexadecimal halves with a slash
// ("16/B374D848").
func ParseLSN(s string) (LSN, error) {
	high, low, found := strings.Cut(s, "/")
	if !found {
		return 0, fmt.Errorf("parsing LSN %q: no slash", s)
	}
	h, err := strconv.ParseUint(high, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("parsing LSN %q: upper half: %w", s, err)
	}
	l, err := strconv.ParseUint(low, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("parsing LSN %q: lower half: %w", s, err)
	}
	return LSN(h<<32 | l), nil
}

// String prints the form that Postgres prints.
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) //nolint:gosec // the two halves
}

// MarshalText makes an LSN a string in JSON and YAML.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (l *LSN) UnmarshalText(text []byte) error {
	v, err := ParseLSN(string(text))
	if err != nil {
		return err
	}
	*l = v
	return nil
}

// Value sends an LSN to Postgres as the text of a pg_lsn.
func (l LSN) Value() (driver.Value, error) { return l.String(), nil }

// Scan reads a pg_lsn; NULL becomes zero.
func (l *LSN) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*l = 0
		return nil
	case string:
		return l.UnmarshalText([]byte(v))
	case []byte:
		return l.UnmarshalText(v)
	default:
		return fmt.Errorf("scanning LSN: unexpected type %T", src)
	}
}

// Sizes that decide where a log record can begin: a page starts with a header, the first page of a
// segment with a longer one.
const (
	walPageBytes        = 8192
	walShortHeaderBytes = 24
	walLongHeaderBytes  = 40
)

// RecordEnd turns an insert position into the end of the record before it.
// pg_current_wal_insert_lsn names the place where the next record may begin, which just after a
// page boundary lies behind the page's header, while a walsender names the boundary itself; without
// this an idle server would never be seen to reach the position.
func (l LSN) RecordEnd() LSN {
	switch l % walPageBytes {
	case walShortHeaderBytes:
		return l - walShortHeaderBytes
	case walLongHeaderBytes:
		return l - walLongHeaderBytes
	default:
		return l
	}
}
