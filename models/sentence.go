package models

import (
	"encoding/json"
	"path"
	"path/filepath"
	"strings"
)

// The files of sentence-transformers.
const (
	modulesFile  = "modules.json"
	sentenceFile = "sentence_bert_config.json"
	promptsFile  = "config_sentence_transformers.json"
)

// module is one step of modules.json.
type module struct{ Path, Type string }

// kind is the class without its package, which moves from version to version.
func (m module) kind() string { return m.Type[strings.LastIndex(m.Type, ".")+1:] }

// readModules reads modules.json; found is false where it is not there.
func readModules(f *folder) (modules []module, found bool, err error) {
	if found, err = readJSON(f, modulesFile, &modules); err != nil {
		return nil, found, err
	}
	for _, m := range modules {
		if m.Path != "" && !filepath.IsLocal(m.Path) {
			return nil, found, unsupported(f.dir, "%s names the folder %q, which is not inside the model's", modulesFile, m.Path)
		}
	}
	return modules, found, nil
}

// readTail reads from modules.json what follows the transformer: a pooling and perhaps a
// normalisation.
func readTail(f *folder) (tail, error) {
	modules, found, err := readModules(f)
	if err != nil {
		return tail{}, err
	}
	if !found {
		return tail{}, missing(f.dir, modulesFile+" is missing, so its pooling and normalisation are unknown")
	}
	var t tail
	for i, m := range modules {
		switch kind := m.kind(); {
		case i == 0 && kind == "Transformer" && m.Path == "":
		case i == 1 && kind == "Pooling":
			if t.pooling, err = readPooling(f, m.Path); err != nil {
				return t, err
			}
		case i == 2 && kind == "Normalize":
			t.normalised = true
			if err := checkNormalise(f, m.Path); err != nil {
				return t, err
			}
		default:
			return t, unsupported(f.dir, "%s: module %d, %s in %q, is not supported (a Transformer, a Pooling and a Normalize are, in this order)",
				modulesFile, i, kind, m.Path)
		}
	}
	if t.pooling == "" {
		return t, unsupported(f.dir, "%s names no Pooling, so the model has no vector of a text", modulesFile)
	}
	return t, nil
}

// normalisesLast reports whether modules.json, which need not be there, ends with a normalisation.
func normalisesLast(f *folder) (bool, error) {
	modules, _, err := readModules(f)
	if err != nil || len(modules) == 0 {
		return false, err
	}
	last := modules[len(modules)-1]
	if last.kind() != "Normalize" {
		return false, nil
	}
	return true, checkNormalise(f, last.Path)
}

// checkNormalise makes sure that a Normalize works on the vector of the text, which it does unless
// its configuration says otherwise.
func checkNormalise(f *folder, below string) error {
	const sentence = "sentence_embedding"
	name := path.Join(below, "config.json")
	var c struct {
		Input  *string `json:"module_input_name"`
		Output *string `json:"module_output_name"`
	}
	if below == "" { // that would be the transformer's
		return nil
	}
	if _, err := readJSON(f, name, &c); err != nil {
		return err
	}
	for _, value := range []*string{c.Input, c.Output} {
		if value != nil && *value != sentence {
			return unsupported(f.dir, "%s: normalising %q is not supported (%s is)", name, *value, sentence)
		}
	}
	return nil
}

// poolingModes maps the names of a pooling in the older form (a boolean pooling_mode_NAME for each)
// and in the newer (pooling_mode).
var poolingModes = map[string]Pooling{"mean_tokens": PoolingMean, "cls_token": PoolingCLS, "mean": PoolingMean, "cls": PoolingCLS}

// readPooling reads the configuration of a Pooling.
func readPooling(f *folder, below string) (Pooling, error) {
	name := path.Join(below, "config.json")
	var raw map[string]any
	found, err := readJSON(f, name, &raw)
	if err != nil {
		return "", err
	}
	if !found {
		return "", missing(f.dir, name+" is missing, so its pooling is unknown")
	}
	modes := namedModes(raw)
	if len(modes) != 1 {
		return "", unsupported(f.dir, "%s names %d pooling modes; one is supported", name, len(modes))
	}
	pooling, known := poolingModes[modes[0]]
	if !known {
		return "", unsupported(f.dir, "%s: pooling %q is not supported (mean and cls are)", name, modes[0])
	}
	if include, isBool := raw["include_prompt"].(bool); isBool && !include {
		prompts, err := readPrompts(f)
		if err != nil {
			return "", err
		}
		if prompts != (prefixes{}) {
			return "", unsupported(f.dir, "%s: include_prompt false is not supported for a model with prompts", name)
		}
	}
	return pooling, nil
}

// namedModes returns the poolings that a configuration switches on.
func namedModes(raw map[string]any) []string {
	switch mode := raw["pooling_mode"].(type) {
	case string:
		return []string{mode}
	case []any:
		var modes []string
		for _, m := range mode {
			if name, isText := m.(string); isText {
				modes = append(modes, name)
			}
		}
		return modes
	}
	var modes []string
	for _, key := range sortedKeys(raw) {
		if on, isBool := raw[key].(bool); isBool && on && strings.HasPrefix(key, "pooling_mode_") {
			modes = append(modes, strings.TrimPrefix(key, "pooling_mode_"))
		}
	}
	return modes
}

// prefixes stand before a text that is searched for and before one that is found.
type prefixes struct{ query, passage string }

// readPrompts reads the prompts by the rule of sentence-transformers' encode_query and
// encode_document: "query", and the first of "document", "passage" and "corpus" that is named;
// without it the default prompt. An empty prompt is one.
func readPrompts(f *folder) (prefixes, error) {
	var c struct {
		Prompts map[string]*string `json:"prompts"`
		Default *string            `json:"default_prompt_name"`
	}
	if _, err := readJSON(f, promptsFile, &c); err != nil {
		return prefixes{}, err
	}
	first := func(names ...string) string {
		for _, name := range names {
			if prompt := c.Prompts[name]; prompt != nil {
				return *prompt
			}
		}
		return ""
	}
	query, passage := []string{"query"}, []string{"document", "passage", "corpus"}
	if c.Default != nil {
		if c.Prompts[*c.Default] == nil {
			return prefixes{}, unsupported(f.dir, "%s: default_prompt_name %q is not among its prompts", promptsFile, *c.Default)
		}
		query, passage = append(query, *c.Default), append(passage, *c.Default)
	}
	return prefixes{query: first(query...), passage: first(passage...)}, nil
}

// checkTransformer refuses what sentence_bert_config.json may ask of the transformer beyond the
// vectors of its last layer, and returns its max_seq_length, 0 where there is none.
func checkTransformer(f *folder) (maxTokens int, err error) {
	var c struct {
		MaxSeqLength     int             `json:"max_seq_length"`
		DoLowerCase      bool            `json:"do_lower_case"`
		Task             *string         `json:"transformer_task"`
		Output           *string         `json:"module_output_name"`
		ProcessingKwargs map[string]any  `json:"processing_kwargs"`
		QueryLength      *int            `json:"query_length"`
		DocumentLength   *int            `json:"document_length"`
		QueryExpansion   json.RawMessage `json:"query_expansion"`
	}
	if _, err := readJSON(f, sentenceFile, &c); err != nil {
		return 0, err
	}
	switch {
	case c.Task != nil && *c.Task != "feature-extraction":
		return 0, unsupported(f.dir, "%s: transformer_task %q is not supported (feature-extraction is)", sentenceFile, *c.Task)
	case c.Output != nil && *c.Output != "token_embeddings":
		return 0, unsupported(f.dir, "%s: module_output_name %q is not supported (token_embeddings is)", sentenceFile, *c.Output)
	case len(c.ProcessingKwargs) > 0:
		return 0, unsupported(f.dir, "%s: processing_kwargs is not supported", sentenceFile)
	case c.QueryLength != nil, c.DocumentLength != nil, len(c.QueryExpansion) > 0 && string(c.QueryExpansion) != "null":
		return 0, unsupported(f.dir, "%s: query_length, document_length and query_expansion are not supported", sentenceFile)
	}
	if c.DoLowerCase {
		lowers, err := tokenizerLowers(f)
		if err == nil && !lowers {
			err = unsupported(f.dir, "%s: do_lower_case needs a tokenizer.json that does so itself (a Lowercase among its normalizers)", sentenceFile)
		}
		if err != nil {
			return 0, err
		}
	}
	return c.MaxSeqLength, nil
}

// normalizer is the part of tokenizer.json that a text goes through first.
type normalizer struct {
	Type        string       `json:"type"`
	Lowercase   bool         `json:"lowercase"`
	Normalizers []normalizer `json:"normalizers"`
}

func (n normalizer) lowers() bool {
	for _, part := range n.Normalizers {
		if part.lowers() {
			return true
		}
	}
	return n.Type == "Lowercase" || n.Type == "BertNormalizer" && n.Lowercase
}

// tokenizerLowers reports whether tokenizer.json turns a text into lower case.
func tokenizerLowers(f *folder) (bool, error) {
	var t struct {
		Normalizer normalizer `json:"normalizer"`
	}
	_, err := readJSON(f, tokenizerFile, &t) // a missing file is reported where it is hashed
	return t.Normalizer.lowers(), err
}

// readMaxTokens returns the longest text in tokens, special tokens included. positions is the
// number of positions that the model has; 0 where that is unknown.
func readMaxTokens(f *folder, positions int) (int, error) {
	longest, err := checkTransformer(f)
	if err != nil {
		return 0, err
	}
	if longest == 0 {
		// Without a maximum of its own sentence-transformers takes the tokenizer's limit; huge
		// numbers there mean "none".
		var tokenizer struct {
			ModelMaxLength float64 `json:"model_max_length"`
		}
		if _, err := readJSON(f, "tokenizer_config.json", &tokenizer); err != nil {
			return 0, err
		}
		longest = positions
		if limit := tokenizer.ModelMaxLength; limit > 0 && limit < maxSize && (positions == 0 || limit < float64(positions)) {
			longest = int(limit)
		}
	}
	switch {
	case longest == 0:
		return 0, missing(f.dir, "nothing says how long a text may be (max_seq_length in "+sentenceFile+", model_max_length in tokenizer_config.json)")
	case longest > maxSize:
		return 0, unsupported(f.dir, "a maximum of %d tokens is out of range", longest)
	case longest < 3:
		return 0, unsupported(f.dir, "a maximum of %d tokens leaves no room for text", longest)
	case positions > 0:
		return min(longest, positions), nil
	}
	return longest, nil
}
