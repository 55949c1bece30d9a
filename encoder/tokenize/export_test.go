package tokenize

// LeaveFastPath makes a tokenizer call the library for every text.
func LeaveFastPath(t *Tokenizer) { t.fast = nil }

// Tokenize returns the ids of a text as Append does, in a slice of their own.
func (t *Tokenizer) Tokenize(text string) (ids []int32, cut bool, err error) {
	return t.Append(make([]int32, 0, min(t.maxTokens, 2+len(text)/3)), text)
}
