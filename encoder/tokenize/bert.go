package tokenize

import (
	"bytes"
	"encoding/json"
	"strings"
)

// normalizer is the BertNormalizer of a tokenizer.json.
type normalizer struct {
	cleanText, chineseChars, stripAccents, lowercase bool
}

// bert is what a tokenizer.json of BERT's kind says.
type bert struct {
	normalizer
	// vocabulary has the tokens; a word without a split into tokens, or of more than maxChars code
	// points, is unknown.
	vocabulary map[string]int32
	prefix     string // of tokens that continue a word
	unknown    int32
	maxChars   int
	// before and after are the ids that enclose every text.
	before, after int32
	// added are the tokens that are looked for in the text as it is, folded those looked for after
	// normalization. All are ASCII and begin with a punctuation mark.
	added, folded []string
}

// readBert reads the fields of a tokenizer.json. It is ok only where every field, down to the last,
// is one whose meaning is known here: what is overlooked would make other ids.
func readBert(file map[string]json.RawMessage) (b bert, ok bool) {
	ok = only(file, "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model") &&
		b.readNormalizer(file["normalizer"]) && readPreTokenizer(file["pre_tokenizer"]) && b.readModel(file["model"]) &&
		b.readEnds(file["post_processor"]) && b.readAdded(file["added_tokens"])
	return b, ok
}

func (b *bert) readNormalizer(raw json.RawMessage) bool {
	o, ok := object(raw, "BertNormalizer", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
	if !ok || !read(o["clean_text"], &b.cleanText) || !read(o["handle_chinese_chars"], &b.chineseChars) || !read(o["lowercase"], &b.lowercase) {
		return false
	}
	if accents := o["strip_accents"]; absent(accents) {
		b.stripAccents = b.lowercase
	} else if !read(accents, &b.stripAccents) {
		return false
	}
	return true
}

func readPreTokenizer(raw json.RawMessage) bool {
	_, ok := object(raw, "BertPreTokenizer")
	return ok
}

func (b *bert) readModel(raw json.RawMessage) bool {
	o, ok := object(raw, "WordPiece", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab")
	var unknown string
	if !ok || !read(o["unk_token"], &unknown) || !read(o["continuing_subword_prefix"], &b.prefix) ||
		!read(o["max_input_chars_per_word"], &b.maxChars) || !read(o["vocab"], &b.vocabulary) {
		return false
	}
	b.unknown, ok = b.vocabulary[unknown]
	return ok && b.maxChars >= 0 && b.maxChars <= maxWordChars
}

// readEnds reads the post-processor.
func (b *bert) readEnds(raw json.RawMessage) bool {
	if o, ok := object(raw, "BertProcessing", "cls", "sep"); ok {
		return readPair(o["cls"], &b.before) && readPair(o["sep"], &b.after)
	}
	o, ok := object(raw, "TemplateProcessing", "single", "pair", "special_tokens")
	var single []map[string]json.RawMessage
	var special map[string]json.RawMessage
	if !ok || !read(o["single"], &single) || !read(o["special_tokens"], &special) || len(single) != 3 {
		return false
	}
	if !only(single[1], "Sequence") || !isSequence(single[1]["Sequence"]) {
		return false
	}
	return readSpecial(single[0], special, &b.before) && readSpecial(single[2], special, &b.after)
}

// readPair reads ["[CLS]", 101].
func readPair(raw json.RawMessage, id *int32) bool {
	var pair []json.RawMessage
	return read(raw, &pair) && len(pair) == 2 && read(pair[1], id)
}

func isSequence(raw json.RawMessage) bool {
	var o map[string]json.RawMessage
	var name string
	return read(raw, &o) && only(o, "id", "type_id") && read(o["id"], &name) && name == "A"
}

// readSpecial reads a special token of a template, which is to be one id.
func readSpecial(piece, special map[string]json.RawMessage, id *int32) bool {
	var o map[string]json.RawMessage
	var name string
	if !only(piece, "SpecialToken") || !read(piece["SpecialToken"], &o) || !only(o, "id", "type_id") || !read(o["id"], &name) {
		return false
	}
	var token map[string]json.RawMessage
	var ids []int32
	if !read(special[name], &token) || !only(token, "id", "ids", "tokens") || !read(token["ids"], &ids) || len(ids) != 1 {
		return false
	}
	*id = ids[0]
	return true
}

// readAdded reads the added tokens. What they do to a text is left to the reference; they need only
// be seen in it.
func (b *bert) readAdded(raw json.RawMessage) bool {
	var list []map[string]json.RawMessage
	if !absent(raw) && !read(raw, &list) {
		return false
	}
	for _, o := range list {
		var content string
		var normalized bool
		if !only(o, "id", "content", "single_word", "lstrip", "rstrip", "normalized", "special") ||
			!read(o["content"], &content) || !read(o["normalized"], &normalized) || !visible(content) {
			return false
		}
		if normalized {
			b.folded = append(b.folded, content)
		} else {
			b.added = append(b.added, content)
		}
	}
	return true
}

// visible reports whether a token is ASCII and begins with a punctuation mark, which no normalizer
// changes.
func visible(content string) bool {
	if content == "" || !strings.ContainsRune("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", rune(content[0])) {
		return false
	}
	return strings.IndexFunc(content, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// object reads an object of a type that has no fields but some.
func object(raw json.RawMessage, kind string, fields ...string) (map[string]json.RawMessage, bool) {
	var o map[string]json.RawMessage
	var found string
	if !read(raw, &o) || !only(o, append(fields, "type")...) || !read(o["type"], &found) {
		return nil, false
	}
	return o, found == kind
}

// only reports whether an object has no fields but some.
func only(o map[string]json.RawMessage, fields ...string) bool {
	known := 0
	for _, field := range fields {
		if _, found := o[field]; found {
			known++
		}
	}
	return known == len(o)
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || bytes.Equal(raw, []byte("null")) }

// read reads a value that must be there.
func read(raw json.RawMessage, into any) bool {
	return !absent(raw) && json.Unmarshal(raw, into) == nil
}
