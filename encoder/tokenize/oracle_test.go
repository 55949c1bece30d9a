package tokenize

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/daulet/tokenizers"
)

// bertOptions are the settings of BertNormalizer. strip is strip_accents: null, true or false.
type bertOptions struct {
	clean, chinese, lower bool
	strip                 string
}

// usual are the settings of an uncased model.
var usual = bertOptions{clean: true, chinese: true, lower: true, strip: "null"}

func everyOption() (all []bertOptions) {
	for i := range 8 {
		for _, strip := range []string{"true", "false", "null"} {
			all = append(all, bertOptions{i&1 != 0, i&2 != 0, i&4 != 0, strip})
		}
	}
	return all
}

func (o bertOptions) String() string {
	return fmt.Sprintf(`{"type":"BertNormalizer","clean_text":%v,"handle_chinese_chars":%v,"strip_accents":%s,"lowercase":%v}`,
		o.clean, o.chinese, o.strip, o.lower)
}

// The ids of a tokenizer of letters: of a word outside the vocabulary, and of what encloses a text.
const (
	lettersUnknown = 0
	lettersEnd     = 1
)

// letters is a tokenizer.json whose vocabulary is code points, each as a whole word and as the
// continuation of one, so that the ids of a text spell what the normalizer and the splitter made of
// it.
func letters(o bertOptions, in func(r rune) bool) []byte {
	vocab := fmt.Appendf(nil, `{"[UNK]":%d`, lettersUnknown)
	for r := range rune(utf8.MaxRune + 1) {
		if r == 0 || !utf8.ValidRune(r) || !in(r) {
			continue
		}
		for continuing, prefix := range []string{`,"`, `,"##`} {
			vocab = append(vocab, prefix...)
			if r < ' ' || r == '"' || r == '\\' {
				vocab = fmt.Appendf(vocab, `\u%04x`, r)
			} else {
				vocab = utf8.AppendRune(vocab, r)
			}
			vocab = append(vocab, `":`...)
			vocab = strconv.AppendInt(vocab, int64(2*r)+int64(continuing), 10)
		}
	}
	return tokenizerFile(o.String(), `"unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":128`, append(vocab, '}'), `[]`)
}

// tokenizerFile is a tokenizer.json of BERT's kind.
func tokenizerFile(normalizer, model string, vocab []byte, added string) []byte {
	return fmt.Appendf(nil, `{"version":"1.0","truncation":null,"padding":null,"added_tokens":%s,"normalizer":%s,
		"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"BertProcessing","sep":["[SEP]",%d],"cls":["[CLS]",%d]},
		"decoder":null,"model":{"type":"WordPiece",%s,"vocab":%s}}`, added, normalizer, lettersEnd, lettersEnd, model, vocab)
}

// openFile opens a tokenizer.json.
func openFile(tb testing.TB, file []byte, maxTokens int) *Tokenizer {
	tb.Helper()
	tk, err := New(file, maxTokens)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { tk.Close() })
	return tk
}

// oracle tells what the reference makes of a text.
type oracle struct{ reference *tokenizers.Tokenizer }

func newOracle(tb testing.TB, file []byte) oracle {
	tb.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(file, &fields); err != nil {
		tb.Fatal(err)
	}
	reference, err := load(fields, 1<<30)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { reference.Close() })
	return oracle{reference}
}

// each gives f the ids of every text, without what encloses it. It asks for many texts at once,
// because a call costs more than a text; none may hold the word between them.
func (o oracle) each(tb testing.TB, texts []string, f func(i int, ids []int32)) {
	tb.Helper()
	const between, many = "zqz", 50
	mark := appendIDs(nil, o.reference.EncodeWithOptions(between, false).IDs)
	at := 0
	for chunk := range slices.Chunk(texts, many) {
		var all []byte
		for _, text := range chunk {
			all = append(append(append(append(all, text...), ' '), between...), ' ')
		}
		ids := appendIDs(nil, o.reference.EncodeWithOptions(repair(string(all)), false).IDs)
		for range chunk {
			end := index(ids, mark)
			if end < 0 {
				tb.Fatalf("%q: no end", all)
			}
			f(at, ids[:end])
			ids = ids[end+len(mark):]
			at++
		}
	}
}

func index(ids, part []int32) int {
	for i := range ids {
		if i+len(part) <= len(ids) && slices.Equal(ids[i:i+len(part)], part) {
			return i
		}
	}
	return -1
}

// spell returns the words that the ids of a tokenizer of letters stand for.
func spell(tb testing.TB, ids []int32) (words []string) {
	tb.Helper()
	for _, id := range ids {
		switch r := string(id / 2); {
		case id == lettersUnknown:
			tb.Fatalf("%v has a code point outside the vocabulary", ids)
		case id%2 == 0:
			words = append(words, r)
		default:
			words[len(words)-1] += r
		}
	}
	return words
}
