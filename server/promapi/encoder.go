package promapi

import (
	"encoding/json"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
)

// encoder writes JSON as it is made.
type encoder struct {
	out io.Writer
	buf []byte
	err error // of out
}

// pieceSize is how much is encoded before it is written.
const pieceSize = 32 << 10

// raw appends JSON.
func (e *encoder) raw(json string) { e.buf = append(e.buf, json...) }

// flush writes what there is once it is enough for a piece. It says whether to go on.
func (e *encoder) flush() bool {
	if len(e.buf) >= pieceSize {
		e.write()
	}
	return e.err == nil
}

func (e *encoder) write() {
	if e.err == nil {
		_, e.err = e.out.Write(e.buf)
	}
	e.buf = e.buf[:0]
}

// list encodes n entries, and writes meanwhile.
func (e *encoder) list(n int, entry func(i int)) {
	e.raw("[")
	for i := range n {
		if i > 0 {
			e.raw(",")
		}
		entry(i)
		if !e.flush() {
			return
		}
	}
	e.raw("]")
}

const hex = "0123456789abcdef"

// text appends a string. What is no UTF-8 becomes U+FFFD.
func (e *encoder) text(s string) {
	e.buf = append(e.buf, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				e.buf = append(append(e.buf, s[start:i]...), `\ufffd`...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		e.buf = append(e.buf, s[start:i]...)
		switch c {
		case '"', '\\':
			e.buf = append(e.buf, '\\', c)
		case '\n':
			e.raw(`\n`)
		case '\r':
			e.raw(`\r`)
		case '\t':
			e.raw(`\t`)
		default:
			e.buf = append(e.buf, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		i++
		start = i
	}
	e.buf = append(append(e.buf, s[start:]...), '"')
}

// timestamp appends a time in ms as seconds.
func (e *encoder) timestamp(ms int64) {
	if ms < 0 {
		e.raw("-")
		ms = -ms
	}
	e.buf = strconv.AppendInt(e.buf, ms/1000, 10)
	if f := ms % 1000; f != 0 {
		e.buf = append(e.buf, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
	}
}

// float appends a value, which is a string since JSON has no NaN.
func (e *encoder) float(f float64) {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	e.buf = append(strconv.AppendFloat(append(e.buf, '"'), f, format, -1, 64), '"')
}

// labels appends an object.
func (e *encoder) labels(ls labels.Labels) {
	e.raw("{")
	first := true
	ls.Range(func(l labels.Label) {
		if !first {
			e.raw(",")
		}
		first = false
		e.text(l.Name)
		e.raw(":")
		e.text(l.Value)
	})
	e.raw("}")
}

// histogram appends a histogram with the buckets that are not empty.
func (e *encoder) histogram(h *histogram.FloatHistogram) {
	e.raw(`{"count":`)
	e.float(h.Count)
	e.raw(`,"sum":`)
	e.float(h.Sum)
	separator := `,"buckets":[`
	for it := h.AllBucketIterator(); it.Next(); {
		b := it.At()
		if b.Count == 0 {
			continue
		}
		e.raw(separator)
		separator = ","
		e.raw("[")
		e.raw(boundaries(b.LowerInclusive, b.UpperInclusive))
		for _, f := range []float64{b.Lower, b.Upper, b.Count} {
			e.raw(",")
			e.float(f)
		}
		e.raw("]")
	}
	if separator == "," {
		e.raw("]")
	}
	e.raw("}")
}

// boundaries says which ends of a bucket belong to it, by Prometheus' numbers.
func boundaries(lower, upper bool) string {
	switch {
	case lower && upper:
		return "3"
	case lower:
		return "1"
	case upper:
		return "0"
	}
	return "2"
}

// other appends what has JSON of its own. It is small.
func (e *encoder) other(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte("null")
	}
	e.buf = append(e.buf, text...)
}
