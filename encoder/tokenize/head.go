package tokenize

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

// firstHead is the length in bytes beyond which only the head of a text is looked at first: the
// library makes tokens, offsets and words of the whole text, some 50 bytes of memory a byte, before
// it cuts. 256 tokens of prose are some 1,500 bytes.
const firstHead = 16 << 10

// mostWhole is the longest text that the library is given whole: it takes some 800 MB for one.
const mostWhole = 16 << 20

// cutter finds places where a text may be cut without changing the tokens before the cut: the
// tokenizer is BERT's, which takes every word by itself and drops the white space.
type cutter struct {
	// ok is false where nothing is known of the tokenizer, and no text is cut.
	ok bool
	// longWord is the number of code points above which a word is one unknown token, whatever
	// follows.
	longWord int
	// chinese says that every Chinese character is a word.
	chinese bool
	// added are the tokens that are looked for in the text as it is, in lower case: none may be cut
	// in two.
	added []string
}

// readCutter reads a tokenizer.json. None of the added tokens may hold white space.
func readCutter(fields map[string]json.RawMessage) cutter {
	var normalizer struct {
		Type         string
		ChineseChars bool `json:"handle_chinese_chars"`
	}
	var pre struct{ Type string }
	var model struct {
		Type     string
		MaxChars int `json:"max_input_chars_per_word"`
	}
	var added []struct{ Content string }
	for name, into := range map[string]any{"normalizer": &normalizer, "pre_tokenizer": &pre, "model": &model, "added_tokens": &added} {
		if json.Unmarshal(fields[name], into) != nil {
			return cutter{}
		}
	}
	c := cutter{longWord: model.MaxChars, chinese: normalizer.ChineseChars}
	for _, token := range added {
		if strings.ContainsAny(token.Content, asciiSpace) {
			return cutter{}
		}
		c.added = append(c.added, strings.ToLower(token.Content))
	}
	c.ok = normalizer.Type == "BertNormalizer" && pre.Type == "BertPreTokenizer" && model.Type == "WordPiece"
	return c
}

// head returns the longest part of at most size bytes that a text may be cut behind. It is before
// white space where there is some; else before a punctuation mark, between two Chinese characters,
// or inside a word that is too long to be one. Empty where there is no such place.
func (c *cutter) head(text string, size int) string {
	if !c.ok {
		return ""
	}
	if end := strings.LastIndexAny(text[:size], asciiSpace); end > 0 {
		return text[:end]
	}
	for end := size; end > 0; end-- {
		if c.between(text, end) && !c.inAdded(text, end) {
			return text[:end]
		}
	}
	return ""
}

// between reports whether no word that matters goes on from before a place to behind it.
func (c *cutter) between(text string, at int) bool {
	switch {
	case at >= len(text):
		return false
	case isASCIIMark(text[at]):
		return true
	case isAlphanumeric(text[at]):
		first := at - c.longWord - 1
		if c.longWord <= 0 || first < 0 {
			return false
		}
		for _, b := range []byte(text[first:at]) {
			if !isAlphanumeric(b) {
				return false
			}
		}
		return true
	case !c.chinese || !utf8.RuneStart(text[at]):
		return false
	default:
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		behind, _ := utf8.DecodeRuneInString(text[at:])
		return isChineseWord(before) && isChineseWord(behind)
	}
}

// inAdded reports whether an added token goes from before a place to behind it.
func (c *cutter) inAdded(text string, at int) bool {
	return slices.ContainsFunc(c.added, func(content string) bool {
		for first := max(0, at-len(content)+1); first < at; first++ {
			if first+len(content) <= len(text) && strings.EqualFold(text[first:first+len(content)], content) {
				return true
			}
		}
		return false
	})
}

func isASCIIMark(b byte) bool { return b > ' ' && b < utf8.RuneSelf-1 && !isAlphanumeric(b) }

func isAlphanumeric(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// isChineseWord reports whether a code point is of the block of Chinese characters that every table
// knows.
func isChineseWord(r rune) bool { return 0x4E00 <= r && r <= 0x9FA5 }
