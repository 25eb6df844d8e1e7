package remotewrite

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/promgrpc/exporter/internal/limit"
)

// Reasons are kept with the answer, in the log and in memory, for as long as the
// request may come again. So they are bounded together, and each is cut so that
// one leaves room for others.
const (
	maxReasons     = 10
	maxReasonBytes = 512
	// MaxErrorBytes is what all reasons of a request take at most.
	MaxErrorBytes = 1024
	// minReasonBytes is the room that is worth another one.
	minReasonBytes = 128
	// restBytes is for the words on how many there are besides.
	restBytes = 32
)

// Problems are what is wrong with parts of a request.
type Problems struct {
	// Rejected counts samples, histograms and exemplars.
	Rejected int
	// Count of problems.
	Count int
	// OverLimit counts those that came of a limit, and help texts that were cut,
	// by the limit's name.
	OverLimit map[string]int
	// Limited says that a part was refused because of a limit.
	Limited bool
	// errors are the first of them, which take so many bytes.
	errors []string
	bytes  int
}

// note adds a problem. The text is a function, since only the first texts are kept.
func (p *Problems) note(n int, err error, text func() string) {
	p.Rejected += n
	p.Count++
	p.Limited = p.countLimit(err) || p.Limited
	if !p.full() {
		s := shorten(text(), p.room())
		p.errors, p.bytes = append(p.errors, s), p.bytes+len(s)
	}
}

// reason is an error whose text is made when it is asked for: of very many problems only
// the first texts are.
type reason struct {
	format string
	args   []any
}

func reasonf(format string, args ...any) error { return &reason{format, args} }

func (e *reason) Error() string { return fmt.Sprintf(e.format, e.args...) }

// room is how long the next text may be.
func (p *Problems) room() int { return min(MaxErrorBytes-restBytes-p.bytes, maxReasonBytes) }

// full says that no more texts are kept.
func (p *Problems) full() bool { return len(p.errors) >= maxReasons || p.room() < minReasonBytes }

// countLimit counts an error that came of a limit, and says whether it did.
func (p *Problems) countLimit(err error) bool {
	over := (*limit.Error)(nil)
	if !errors.As(err, &over) {
		return false
	}
	if p.OverLimit == nil {
		p.OverLimit = map[string]int{}
	}
	p.OverLimit[over.Name]++
	return true
}

// Errors are the first problems in words, and how many there are besides.
func (p *Problems) Errors() []string {
	if p.Count > len(p.errors) {
		return append(p.errors[:len(p.errors):len(p.errors)], fmt.Sprintf("and %d more", p.Count-len(p.errors)))
	}
	return p.errors
}

// Refuse notes a problem of a series, which is named by its labels, that costs n
// samples.
func (r *Request) Refuse(n int, s *Series, err error) { r.refusePart(n, s, "", err) }

// refusePart is Refuse with the part of the series that the problem is of.
func (r *Request) refusePart(n int, s *Series, part string, err error) {
	r.Problems.note(n, err, func() string { return "series " + r.describe(s) + ": " + part + err.Error() })
}

// RefuseMetadata notes a problem of the metadata of a family. It costs no sample.
func (r *Request) RefuseMetadata(family []byte, err error) {
	r.Problems.note(0, err, func() string { return fmt.Sprintf("metadata of %q: %v", cut(family), err) })
}

const (
	// maxDescription leaves room for a reason.
	maxDescription = 256
	// maxQuoted is how much of a name or value is shown.
	maxQuoted = 64
)

// describe writes the labels of a series for a person to read, or the first of
// them: all might take far more than the request.
func (r *Request) describe(s *Series) string {
	out := []byte{'{'}
	label := func(name, value []byte) bool {
		if len(out) > 1 {
			out = append(out, ", "...)
		}
		if plain(name) && len(name) <= maxQuoted {
			out = append(out, name...)
		} else {
			out = quote(out, name)
		}
		out = quote(append(out, '='), value)
		return len(out) <= maxDescription
	}
	if r.each(s, label) != nil {
		out = append(out, "(damaged)"...)
	}
	return shorten(string(out), maxDescription) + "}"
}

func quote(dst, text []byte) []byte {
	if len(text) > maxQuoted {
		return append(strconv.AppendQuote(dst, string(text[:maxQuoted])), "…"...)
	}
	return strconv.AppendQuote(dst, string(text))
}

func plain(name []byte) bool {
	for i, c := range name {
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return len(name) > 0
}

// cut shortens a name for messages.
func cut[T string | []byte](name T) string {
	const most = 32
	if len(name) > most {
		return string(name[:most]) + "…"
	}
	return string(name)
}

// shorten cuts a text to so many bytes at most, between characters.
func shorten(s string, most int) string {
	const more = "…"
	if len(s) <= most {
		return s
	}
	s = s[:most-len(more)]
	for len(s) > 0 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + more
}
