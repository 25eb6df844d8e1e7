package segment

import (
	"encoding/binary"
	"fmt"
)

// New series are stored as follows. The symbols section holds the number of
// distinct strings, and each with its length, in order of their first use. The
// series section holds the number of labels of all series together, then for
// each series:
//
//	uvarint  reference, above the lowest that it may have
//	uvarint  number of labels << 1 | 1 if the names are those of the series before
//	uvarint  … the symbol of each name, unless they are
//	uvarint  … for each value: 0 if it is that of the series before at the same
//	         place and the names are the same; else 1 + symbol

// seriesWriter encodes new series with a symbol table of their own.
type seriesWriter struct {
	symbols map[string]uint32
	table   []byte // lengths and strings
	body    []byte
	labels  uint64
}

func (w *seriesWriter) reset() {
	if len(w.symbols) > 1<<12 || w.symbols == nil {
		w.symbols = map[string]uint32{} // clearing a large one costs its largest size for ever
	} else {
		clear(w.symbols)
	}
	w.table, w.body, w.labels = w.table[:0], w.body[:0], 0
}

func (w *seriesWriter) symbol(s string) uint64 {
	n, ok := w.symbols[s]
	if !ok {
		n = uint32(len(w.symbols))
		w.symbols[s] = n
		w.table = appendString(w.table, s)
	}
	return uint64(n)
}

func (w *seriesWriter) add(gap uint64, ls, before Labels) {
	w.labels += uint64(len(ls))
	w.body = binary.AppendUvarint(w.body, gap)
	same := sameNames(ls, before)
	if same {
		w.body = binary.AppendUvarint(w.body, uint64(len(ls))<<1|1)
	} else {
		w.body = binary.AppendUvarint(w.body, uint64(len(ls))<<1)
		for i := range ls {
			w.body = binary.AppendUvarint(w.body, w.symbol(ls[i].Name))
		}
	}
	for i := range ls {
		if same && ls[i].Value == before[i].Value {
			w.body = append(w.body, 0)
		} else {
			w.body = binary.AppendUvarint(w.body, 1+w.symbol(ls[i].Value))
		}
	}
}

// sections returns both sections.
func (w *seriesWriter) sections() (symbols, series []byte) {
	if len(w.body) == 0 {
		return nil, nil
	}
	symbols = binary.AppendUvarint(nil, uint64(len(w.symbols)))
	series = binary.AppendUvarint(nil, w.labels)
	return append(symbols, w.table...), append(series, w.body...)
}

func sameNames(a, b Labels) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name {
			return false
		}
	}
	return true
}

// readSymbols returns the strings, which share memory.
func readSymbols(section []byte, buf []string) ([]string, error) {
	if len(section) == 0 {
		return buf[:0], nil
	}
	all := string(section)
	c := cursor{b: section}
	n := c.uvarint()
	if n > uint64(len(c.b)) {
		return nil, fmt.Errorf("symbols: %w: count", ErrCorrupt)
	}
	buf = resize(buf, int(n))
	for i := range buf {
		b := c.bytes()
		buf[i] = all[len(all)-len(c.b)-len(b) : len(all)-len(c.b)]
	}
	return buf, c.end("symbols")
}

// readSeries fills dst, whose length is the number of series. The first has a
// reference of at least next. Slices of labels in dst
// are reused if they are large enough.
func readSeries(section []byte, symbols []string, next uint64, dst []Series) error {
	if len(dst) == 0 {
		if len(section) != 0 {
			return fmt.Errorf("series: %w: none expected", ErrCorrupt)
		}
		return nil
	}
	c := cursor{b: section}
	total := c.uvarint()
	if total > uint64(len(c.b)) || total > MaxLabels {
		return fmt.Errorf("series: %w: number of labels", ErrCorrupt)
	}
	rest := int(total)
	var pool Labels // shared by those that have no room
	lookup := func(n uint64) string {
		if n >= uint64(len(symbols)) {
			c.bad = true
			return ""
		}
		return symbols[n]
	}
	var before Labels
	for i := range dst {
		gap, head := c.uvarint(), c.uvarint()
		ref := next + gap
		n, same := head>>1, head&1 != 0
		if ref < next || ref > maxSequence || n > uint64(rest) || same && n != uint64(len(before)) {
			return fmt.Errorf("series: %w", ErrCorrupt)
		}
		ls := dst[i].Labels
		if cap(ls) < int(n) {
			if len(pool) == 0 {
				pool = make(Labels, rest)
			}
			ls, pool = pool[:0:n], pool[n:]
		}
		ls, rest = ls[:n], rest-int(n)
		for j := range ls {
			if same {
				ls[j].Name = before[j].Name
			} else {
				ls[j].Name = lookup(c.uvarint())
			}
		}
		for j := range ls {
			switch v := c.uvarint(); {
			case v != 0:
				ls[j].Value = lookup(v - 1)
			case same:
				ls[j].Value = before[j].Value
			default:
				c.bad = true
			}
		}
		if c.bad {
			return fmt.Errorf("series: %w", ErrCorrupt)
		}
		dst[i] = Series{Ref: ref, Labels: ls}
		before, next = ls, ref+1
	}
	if rest != 0 {
		return fmt.Errorf("series: %w: number of labels", ErrCorrupt)
	}
	return c.end("series")
}
