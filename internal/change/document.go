package change

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// Hash identifies a rendered text: the first 16 bytes of its SHA-256. It says nothing of the model
// or the template.
type Hash [16]byte

// hashBlock is how much of a text is hashed at once: a longer one is not copied for it.
const hashBlock = 64 << 10

// HashText returns the hash of a rendered text.
func HashText(text string) Hash {
	if len(text) <= hashBlock {
		sum := sha256.Sum256([]byte(text))
		return Hash(sum[:16])
	}
	return hashPieces([]string{text})
}

// hashPieces returns the hash of a text that is in pieces.
func hashPieces(pieces []string) Hash {
	h := sha256.New()
	block := make([]byte, hashBlock)
	for _, piece := range pieces {
		for piece != "" {
			n := copy(block, piece)
			_, _ = h.Write(block[:n]) // never fails
			piece = piece[n:]
		}
	}
	return Hash(h.Sum(nil)[:16])
}

// String prints the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Document is a rendered text with its hash. The zero Document is that of a row without a text.
type Document struct {
	// Text is what an encoder is given: the rendered text, or its head where that is longer than
	// MostText.
	Text string
	// Hash is always that of the whole rendered text.
	Hash Hash
	// Whole is the number of bytes of the rendered text where Text is its head; zero where Text is
	// all of it.
	Whole int
	// Large is the number of bytes of a row that is larger than its template's limit: Text is empty
	// then, and Hash stands for that number alone. Zero for every other row.
	Large int64
	// Limit is the limit that a large row is beyond.
	Limit int64
	// Foreign says that the row has bytes without a form in UTF-8: Text is empty, and Hash is that
	// of the bytes, marked.
	Foreign bool
}

// NewDocument hashes a rendered text.
func NewDocument(text string) Document { return Document{Text: text, Hash: HashText(text)} }

// None reports whether the row has no text.
func (d *Document) None() bool { return d.Hash == Hash{} }

// Refusal says why a row is not encoded that is too large, or is no text; empty for every other
// row.
func (d *Document) Refusal() string {
	switch {
	case d.Foreign:
		return "the row has bytes that have no form in UTF-8"
	case d.Large == 0:
		return ""
	}
	return fmt.Sprintf("row of %d bytes is larger than stream.max_row_bytes (%d)", d.Large, d.Limit)
}

// large is the document of a row of so many bytes. No text has its hash: the zero byte in front is
// in no value of Postgres'. Who reads the row from the log and who reads it by a SELECT know the
// number, not the text, so that both come to the same hash.
func large(size, limit int64) Document {
	return Document{Hash: HashText(fmt.Sprintf("\x00row of %d bytes", size)), Large: size, Limit: limit}
}

// Limited returns the template, and those behind it, with a limit to the bytes of a row: the sum
// over the columns that the template names, each as often as it does, in the server's text output.
// A row beyond it has no text but is no deleted one; see Document.Large. Zero or less means no
// limit.
func (t Template) Limited(bytes int64) Template {
	t.limit = max(0, bytes)
	further := t.further
	t.further = nil
	for _, f := range further {
		t.further = append(t.further, f.Limited(bytes))
	}
	return t
}

// Limit returns the most bytes of a row, math.MaxInt64 where there is no limit.
func (t Template) Limit() int64 {
	if t.limit == 0 {
		return math.MaxInt64
	}
	return t.limit
}

// Large reports whether a row of so many bytes is beyond the limit.
func (t Template) Large(size int64) bool { return size > t.Limit() }

// Settled reports whether the fields of a row suffice to render it: none was left out by the log,
// and one that was not kept belongs to a row that is too large whatever it holds.
func (t Template) Settled(fields []Field) bool {
	kept := true
	for i := range fields {
		if fields[i].State == FieldUnchanged || fields[i].State == FieldUnread {
			return false
		}
		kept = kept && fields[i].State != FieldLarge
	}
	if kept {
		return true
	}
	for _, one := range t.All() {
		mine := fields[:len(one.fields)]
		fields = fields[len(one.fields):]
		partly := slices.ContainsFunc(mine, func(f Field) bool { return f.State == FieldLarge })
		if partly && !one.Large(sizeOf(mine)) {
			return false
		}
	}
	return true
}

// sizeOf is the number of bytes of fields, as far as it can be told: at most 4 GiB, which no row
// that Postgres can send has.
func sizeOf(fields []Field) int64 {
	var size int64
	for _, f := range fields {
		if f.State == FieldLarge {
			size += int64(f.Size)
		} else {
			size += int64(len(f.Text))
		}
	}
	return min(size, math.MaxUint32)
}

// Documents renders the template and those behind it; further is nil where there are none. A
// template of which the row has no text gives the zero Document. See Render.
func (t Template) Documents(fields []Field) (document Document, further []Document) {
	document = t.document(fields[:len(t.fields)])
	at := len(t.fields)
	for i, f := range t.further {
		if further == nil {
			further = make([]Document, len(t.further))
		}
		further[i] = f.document(fields[at : at+len(f.fields)])
		at += len(f.fields)
	}
	return document, further
}

func (t Template) document(fields []Field) Document {
	if size := sizeOf(fields); t.Large(size) {
		return large(size, t.limit)
	}
	pieces, size := t.pieces(make([]string, 0, piecesOnStack), fields)
	switch {
	case size == 0:
		return Document{}
	case slices.ContainsFunc(pieces, func(piece string) bool { return !utf8.ValidString(piece) }): // no text has its hash, as with a large row's
		return Document{Hash: hashPieces(append([]string{"\x00not UTF-8: "}, pieces...)), Foreign: true}
	case size <= MostText:
		return NewDocument(join(pieces, size))
	default:
		return Document{Text: headOf(pieces), Hash: hashPieces(pieces), Whole: size}
	}
}
