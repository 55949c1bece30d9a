package demo

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// page is the demo's printed form: numbered steps with their results below. The first error of the
// writer is kept; all that the demo prints is worthless to a reader who is gone.
type page struct {
	out   io.Writer
	steps int
	err   error
}

func (p *page) sayf(format string, args ...any) {
	if _, err := fmt.Fprintf(p.out, format+"\n", args...); err != nil && p.err == nil {
		p.err = fmt.Errorf("printing the demo: %w", err)
	}
}

// stepf begins a step.
func (p *page) stepf(format string, args ...any) {
	p.steps++
	p.sayf("\n%d. %s", p.steps, fmt.Sprintf(format, args...))
}

// notef prints a result of the step.
func (p *page) notef(format string, args ...any) { p.sayf("   "+format, args...) }

// typedf prints what a user would type.
func (p *page) typedf(format string, args ...any) { p.sayf("\n   $ "+format, args...) }

// factf prints a line of the summary.
func (p *page) factf(name, format string, args ...any) {
	p.sayf("   %-12s %s", name, fmt.Sprintf(format, args...))
}

// Indented puts three blanks before each line that is written to it.
func Indented(out io.Writer) io.Writer { return &indented{out: out} }

// indented puts three blanks before each line that is written to it.
type indented struct {
	out    io.Writer
	inLine bool
}

// Write implements io.Writer.
func (w *indented) Write(text []byte) (int, error) {
	var b bytes.Buffer
	for line := range bytes.Lines(text) {
		if !w.inLine && len(bytes.TrimSpace(line)) > 0 {
			b.WriteString("   ")
		}
		b.Write(line)
		w.inLine = line[len(line)-1] != '\n'
	}
	if _, err := w.out.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(text), nil
}

// grouped writes a number with commas between thousands.
func grouped[T int | int64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}
