package tokenize

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/daulet/tokenizers"
)

// Tokenizer turns texts into token ids. It holds memory of the C side until Close. Any number of
// goroutines may use it at once.
type Tokenizer struct {
	maxTokens int
	// probe cuts one token later than the limit, so that a longer result proves that the text was
	// cut; exact cuts at the limit. Nearly all texts are short and need probe alone.
	probe, exact *tokenizers.Tokenizer
	// cuts finds where a long text may be cut, firstHead is from how many bytes on that is tried.
	cuts      cutter
	firstHead int

	// fast is nil where the tokenizer is not of the kind it knows. It leaves some texts to the
	// library as well.
	fast *wordPiece

	// open is held for reading by calls into C, so that Close waits for them. What needs no C
	// memory only looks at closed: a lock would pass its cache line from core to core for every
	// text.
	open   sync.RWMutex
	closed atomic.Bool
}

// ErrClosed is returned by calls on a closed Tokenizer.
var ErrClosed = fmt.Errorf("the tokenizer is closed")

// New makes a tokenizer of what is in a tokenizer.json; it takes no path, since the fingerprint is
// of bytes (see models.Checkpoint.Tokenizer). Texts are cut at maxTokens ids, special tokens
// included.
func New(file []byte, maxTokens int) (*Tokenizer, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(file, &fields); err != nil {
		return nil, fmt.Errorf("parsing the tokenizer: %w", err)
	}
	t := &Tokenizer{maxTokens: maxTokens, cuts: readCutter(fields), firstHead: firstHead}
	var err error
	if t.exact, err = load(fields, maxTokens); err != nil {
		return nil, fmt.Errorf("loading the tokenizer: %w", err)
	}
	if t.probe, err = load(fields, maxTokens+1); err != nil {
		t.exact.Close()
		return nil, fmt.Errorf("loading the tokenizer: %w", err)
	}
	if b, ok := readBert(fields); ok && maxTokens >= 2 {
		if p, ok := newWordPiece(b, maxTokens); ok {
			t.fast = p
		}
	}
	return t, nil
}

// Fast reports whether texts are tokenized in Go; else every one is a call into C, which takes some
// sixty times as long.
func (t *Tokenizer) Fast() bool { return t.fast != nil }

// load makes a tokenizer without padding that cuts at a number of tokens.
func load(fields map[string]json.RawMessage, maxTokens int) (*tokenizers.Tokenizer, error) {
	fields["padding"] = json.RawMessage("null")
	fields["truncation"] = json.RawMessage(fmt.Sprintf(
		`{"direction":"Right","max_length":%d,"strategy":"LongestFirst","stride":0}`, maxTokens))
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	return tokenizers.FromBytes(data)
}

// asciiSpace is the white space at which a long text may be cut.
const asciiSpace = " \n\t"

// Append appends the token ids of a text to ids, special tokens included, and reports whether the
// text was cut at the limit. The empty text has the special tokens alone. After an error, ids are
// returned as they were.
func (t *Tokenizer) Append(ids []int32, text string) (out []int32, cut bool, err error) {
	if t.closed.Load() {
		return ids, false, ErrClosed
	}
	if t.fast != nil {
		if out, cut, ok := t.fast.append(ids, text); ok {
			return out, cut, nil
		}
	}
	return t.reference(ids, text)
}

// reference is Append by the library.
func (t *Tokenizer) reference(ids []int32, text string) (out []int32, cut bool, err error) {
	t.open.RLock()
	defer t.open.RUnlock()
	if t.closed.Load() {
		return ids, false, ErrClosed
	}
	for size := t.firstHead; size < min(len(text), mostWhole); size *= 8 {
		part := repair(t.cuts.head(text, size))
		if part == "" {
			continue
		}
		found, err := encode(t.probe, part)
		if err != nil {
			return ids, false, err
		}
		if len(found) > t.maxTokens {
			out, err = t.appendCut(ids, part)
			return out, true, err
		}
	}
	if len(text) > mostWhole {
		return ids, false, fmt.Errorf("a text of %d bytes has no place at which it may be cut before it is tokenized", len(text))
	}
	text = repair(text)
	found, err := encode(t.probe, text)
	if err != nil {
		return ids, false, err
	}
	if len(found) > t.maxTokens {
		out, err = t.appendCut(ids, text)
		return out, true, err
	}
	return appendIDs(ids, found), false, nil
}

func (t *Tokenizer) appendCut(ids []int32, text string) ([]int32, error) {
	found, err := encode(t.exact, text)
	if err != nil {
		return ids, err
	}
	return appendIDs(ids, found), nil
}

func appendIDs(ids []int32, found []uint32) []int32 {
	for _, id := range found {
		ids = append(ids, int32(id))
	}
	return ids
}

// repair makes a text fit for C: BERT's normalizer drops NUL and U+FFFD, so replacing neither joins
// nor splits words there.
func repair(text string) string {
	if strings.IndexByte(text, 0) >= 0 {
		text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

func encode(t *tokenizers.Tokenizer, text string) ([]uint32, error) {
	found := t.EncodeWithOptions(text, true).IDs
	if len(found) == 0 {
		// The library returns nothing when it panics or fails; a text without words still has its
		// special tokens.
		return nil, fmt.Errorf("the tokenizer failed on a text of %d bytes", len(text))
	}
	return found, nil
}

// Close waits for running calls into C and frees the memory of the C side.
func (t *Tokenizer) Close() error {
	t.open.Lock()
	defer t.open.Unlock()
	if t.closed.Swap(true) {
		return nil
	}
	return t.close()
}

func (t *Tokenizer) close() error {
	err := t.exact.Close()
	if second := t.probe.Close(); err == nil {
		err = second
	}
	return err
}
