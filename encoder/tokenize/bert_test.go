package tokenize

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// plain is a small tokenizer.json that the fast path knows.
const plain = `{"version":"1.0","truncation":null,"padding":null,
	"added_tokens":[{"id":2,"content":"[SEP]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
	"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
	"pre_tokenizer":{"type":"BertPreTokenizer"},
	"post_processor":{"type":"TemplateProcessing",
		"single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}}],
		"pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],
		"special_tokens":{"[CLS]":{"id":"[CLS]","ids":[1],"tokens":["[CLS]"]},"[SEP]":{"id":"[SEP]","ids":[2],"tokens":["[SEP]"]}}},
	"decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
	"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,
		"vocab":{"[UNK]":0,"[CLS]":1,"[SEP]":2,"a":3,"##b":4}}}`

// TestOnlyWhatIsUnderstoodIsFast changes one thing at a time: whatever is unknown goes to the
// library, which may refuse it as well.
func TestOnlyWhatIsUnderstoodIsFast(t *testing.T) {
	f := func(from, to string, want bool) {
		t.Helper()
		file := strings.Replace(plain, from, to, 1)
		if file == plain && from != to {
			t.Fatalf("%s is not there", from)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(file), &fields); err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		if _, ok := readBert(fields); ok != want {
			t.Errorf("%s instead of %s: known is %v", to, from, ok)
		}
	}
	f("", "", true)
	f(`"strip_accents":null`, `"strip_accents":false`, true)
	f(`"strip_accents":null,`, ``, true)
	f(`"lowercase":true`, `"lowercase":false`, true)
	f(`"max_input_chars_per_word":100`, `"max_input_chars_per_word":128`, true)
	f(`"normalized":false`, `"normalized":true`, true)
	f(`{"type":"WordPiece","prefix":"##","cleanup":true}`, `null`, true)

	f(`"version":"1.0"`, `"version":"1.0","dropout":0.1`, false)
	f(`"clean_text":true`, `"clean_text":null`, false)
	f(`"clean_text":true,`, ``, false)
	f(`"clean_text":true`, `"clean_text":true,"nfkc":true`, false)
	f(`"strip_accents":null`, `"strip_accents":1`, false)
	f(`"BertNormalizer"`, `"Lowercase"`, false)
	f(`"BertPreTokenizer"`, `"Whitespace"`, false)
	f(`{"type":"BertPreTokenizer"}`, `null`, false)
	f(`{"type":"BertPreTokenizer"}`, `{"type":"BertPreTokenizer","behavior":"Isolated"}`, false)
	f(`"type":"WordPiece","unk`, `"type":"WordLevel","unk`, false)
	f(`"unk_token":"[UNK]"`, `"unk_token":"[unk]"`, false)
	f(`"max_input_chars_per_word":100`, `"max_input_chars_per_word":129`, false)
	f(`"max_input_chars_per_word":100`, `"max_input_chars_per_word":100,"dropout":0.1`, false)
	f(`"vocab":{`, `"Vocab":{`, false)
	f(`"##b":4`, `"##b":4294967295`, false)
	f(`{"SpecialToken":{"id":"[CLS]","type_id":0}},`, ``, false)
	f(`"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]"`, `"id":"B","type_id":0}},{"SpecialToken":{"id":"[SEP]"`, false)
	f(`"ids":[1]`, `"ids":[1,1]`, false)
	f(`"ids":[2]`, `"ids":[]`, false)
	f(`"special_tokens":{"[CLS]":{`, `"special_tokens":{"[cls]":{`, false)
	f(`"type":"TemplateProcessing"`, `"type":"RobertaProcessing"`, false)
	f(`"content":"[SEP]"`, `"content":"word"`, false)
	f(`"content":"[SEP]"`, `"content":""`, false)
	f(`"content":"[SEP]"`, `"content":"[é]"`, false)
	f(`"single_word":false`, `"single_word":false,"priority":1`, false)
}

func TestBothPathsAgreeOnTheEndsOfATemplate(t *testing.T) {
	tk := openFile(t, []byte(plain), 6)
	if !tk.Fast() {
		t.Fatal("the tokenizer is not known to the fast path")
	}
	for _, text := range []string{"", "ab", "ab ba b", "a b a b", "b a b a b", "abbbbbb", "a[SEP]a", "[sep", "a \u00e0b"} {
		if fast := compare(t, tk, text); fast == strings.Contains(text, "[SEP]") {
			t.Errorf("%q: fast is %v", text, fast)
		}
	}
}

func TestATokenizerOfAnotherKindIsNotFast(t *testing.T) {
	tk := openFile(t, []byte(strings.Replace(plain, "BertPreTokenizer", "WhitespaceSplit", 1)), 6)
	if ids, cut, err := tk.Append(nil, "a a,a"); tk.Fast() || fmt.Sprint(ids, cut, err) != "[1 3 0 2] false <nil>" {
		t.Errorf("fast is %v, %v, %v, %v", tk.Fast(), ids, cut, err)
	}
}
