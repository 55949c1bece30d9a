package pipeline

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// reasonBytes bounds a reason.
	reasonBytes = 200
	// quotedBytes is how much of a text an error may share with it by accident: both may speak of
	// "dimensions".
	quotedBytes = 12
	// comparedBytes is how much of a text is compared at once, comparedOverlap what each part
	// shares with the next: the forms that an error may quote a text in are many times its size.
	comparedBytes, comparedOverlap = 64 << 10, 4 << 10
)

// errWithheld stands for an error that repeats what it was given. Encoders promise not to; tables
// and logs keep that promise for them.
var errWithheld = errors.New("the encoder failed; its message is withheld because it repeats a text")

// redact is an error in one line of bounded length, without the text that it is about.
func redact(err error, text string) string {
	reason := strings.Join(strings.Fields(strings.ToValidUTF8(withoutTexts(err, []string{text}).Error(), "?")), " ")
	reason = strings.ReplaceAll(reason, "\x00", "?")
	if len(reason) <= reasonBytes {
		return reason
	}
	cut := reasonBytes
	for !utf8.RuneStart(reason[cut]) {
		cut--
	}
	return reason[:cut] + "..."
}

// withoutTexts returns err, or errWithheld when it repeats one of the texts or a piece of one.
func withoutTexts(err error, texts []string) error {
	message := folded(err.Error())
	pieces := make(map[string]struct{}, len(message))
	for i := 0; i+quotedBytes <= len(message); i++ {
		pieces[message[i:i+quotedBytes]] = struct{}{}
	}
	for _, text := range texts {
		for start := 0; start == 0 || start < len(text); start += comparedBytes {
			part := text[start:min(len(text), start+comparedBytes+comparedOverlap)]
			for _, form := range []string{part, strconv.Quote(part), strconv.QuoteToASCII(part)} {
				if repeats(message, pieces, folded(form)) {
					return errWithheld
				}
			}
		}
	}
	return err
}

func repeats(message string, pieces map[string]struct{}, text string) bool {
	if len(text) < quotedBytes {
		return text != "" && strings.Contains(message, text)
	}
	for i := 0; i+quotedBytes <= len(text); i++ {
		if _, found := pieces[text[i:i+quotedBytes]]; found {
			return true
		}
	}
	return false
}

// folded is a text without what a tokenizer or a format may change in it: case and white space.
func folded(text string) string { return strings.ToLower(strings.Join(strings.Fields(text), " ")) }
