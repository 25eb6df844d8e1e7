package remotewrite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/promgrpc/exporter/internal/protoscan"
)

// generator makes bodies that take as little as possible to say much: parts that are
// small and many, references to what is long, and what is near to that at random.
type generator struct {
	*rand.Rand
	limits Limits
}

func (g *generator) one(of ...[]byte) []byte { return of[g.IntN(len(of))] }

// text is empty, short, or as long as a limit allows.
func (g *generator) text() []byte {
	switch g.IntN(6) {
	case 0:
		return nil
	case 1:
		return bytes.Repeat([]byte("v"), g.IntN(g.limits.ValueBytes+10))
	case 2:
		return []byte("\xff\xfe")
	default:
		return fmt.Appendf(nil, "t%d", g.IntN(200))
	}
}

// many repeats a part, up to some bytes.
func (g *generator) many(part []byte, most int) []byte {
	if len(part) == 0 || g.IntN(3) > 0 {
		return part
	}
	return bytes.Repeat(part, 1+g.IntN(1+most/len(part)))
}

func (g *generator) sample() []byte {
	return bytesField(2, g.one(nil, []byte{2 << 3, 5}, append([]byte{1<<3 | protoscan.TypeFixed64}, "12345678\x10\x05"...), []byte{3 << 3, 1}))
}

func (g *generator) histogram(number byte) []byte {
	var b []byte
	for range g.IntN(4) {
		b = append(b, g.one(
			[]byte{1 << 3, 7}, bytesField(11, nil), bytesField(11, []byte{2 << 3, 1}), bytesField(12, bytes.Repeat([]byte{2}, g.IntN(30))),
			[]byte{4 << 3, 18}, bytesField(13, bytes.Repeat([]byte{0}, 8*g.IntN(9))), []byte{15 << 3, 9}, []byte{0x98, 1, 1},
		)...)
	}
	return bytesField(number, g.many(b, 200))
}

func (g *generator) label() []byte {
	return bytesField(1, append(bytesField(1, g.text()), bytesField(2, g.text())...))
}

func (g *generator) seriesV1() []byte {
	var b []byte
	for range g.IntN(6) {
		b = append(b, g.many(g.one(
			g.label(), g.label(), g.sample(), g.histogram(4),
			bytesField(3, g.many(g.one(nil, g.label(), []byte{3 << 3, 5}), 300)),
		), 2000)...)
	}
	return bytesField(1, b)
}

func (g *generator) familyV1() []byte {
	return bytesField(3, append(append(bytesField(2, g.text()), bytesField(4, g.text())...), bytesField(5, g.text())...))
}

// refs are packed references, most of them good.
func (g *generator) refs(symbols int) []byte {
	var b []byte
	for range 2 * g.IntN(8) {
		b = binary.AppendUvarint(b, uint64(g.IntN(symbols+1+symbols/50)))
	}
	return b
}

func (g *generator) seriesV2(symbols int) []byte {
	b := bytesField(1, g.refs(symbols))
	for range g.IntN(6) {
		exemplar := bytesField(1, g.refs(symbols))
		b = append(b, g.many(g.one(
			g.sample(), g.sample(), g.histogram(3), bytesField(4, nil), bytesField(4, exemplar), bytesField(4, append(exemplar, exemplar...)),
			[]byte{1 << 3, 1, 1 << 3, 2}, bytesField(5, []byte{3 << 3, byte(g.IntN(128)), 4 << 3, byte(g.IntN(128))}), []byte{6 << 3, 3},
		), 2000)...)
	}
	return bytesField(5, b)
}

// body is a body of one kind, of some bytes at most when decoded.
func (g *generator) body(schema Schema, most int) []byte {
	var b []byte
	symbols := 1
	if schema == V2 {
		b = bytesField(4, nil)
		for range g.IntN(20) {
			b = append(b, g.many(bytesField(4, g.text()), most/2)...)
		}
		symbols = bytes.Count(b, []byte{4<<3 | protoscan.TypeBytes})
	}
	for n := g.IntN(30); n >= 0 && len(b) < most; n-- {
		var part []byte
		switch {
		case schema == V2:
			part = g.seriesV2(symbols)
		case g.IntN(3) == 0:
			part = g.familyV1()
		default:
			part = g.seriesV1()
		}
		b = append(b, g.many(part, most)...)
	}
	if len(b) > most {
		b = b[:most]
	}
	if g.IntN(4) == 0 {
		for range g.IntN(5) {
			b[g.IntN(len(b))] = byte(g.Uint32())
		}
	}
	return b
}

// worstBodies are those of which the parts are known to take the most.
func worstBodies(l Limits, most int) map[string]struct {
	Schema
	body []byte
} {
	repeat := func(part []byte, n int) []byte { return bytes.Repeat(part, min(n, most/len(part))) }
	one := func(number byte, parts []byte) []byte { return bytesField(number, parts) }
	label := bytesField(1, append(bytesField(1, []byte("a")), bytesField(2, []byte("b"))...))
	pairs := func() (b []byte) { // two symbols of two bytes each refer to one of very many pairs
		b = bytesField(4, nil)
		const symbols = 2000
		for i := range symbols {
			b = append(b, bytesField(4, fmt.Appendf(nil, "%c%c", 'a'+i/45, 'A'+i%45))...)
		}
		for i := 1; len(b) < most; i++ {
			var refs []byte
			for j := range l.Labels {
				refs = binary.AppendUvarint(binary.AppendUvarint(refs, uint64(1+(i/symbols*l.Labels+j)%symbols)), uint64(1+i%symbols))
			}
			b = append(b, bytesField(5, append(bytesField(1, refs), 2<<3|protoscan.TypeBytes, 0))...)
		}
		return b
	}
	type of = struct {
		Schema
		body []byte
	}
	return map[string]of{
		"symbols":     {V2, append(repeat(bytesField(4, nil), l.Symbols), one(5, nil)...)},
		"samples":     {V1, one(1, append(bytes.Clone(label), repeat(bytesField(2, nil), l.Samples)...))},
		"series":      {V1, repeat(one(1, bytesField(2, nil)), l.Series)},
		"series 2.0":  {V2, repeat(one(5, bytesField(2, nil)), l.Series)},
		"exemplars":   {V2, append(bytesField(4, nil), one(5, repeat(bytesField(4, nil), l.Samples))...)},
		"histograms":  {V2, append(bytesField(4, nil), one(5, append(repeat(bytesField(3, nil), l.Samples), 6<<3, 1))...)},
		"families":    {V1, repeat(bytesField(3, bytesField(2, []byte("a"))), l.Series)},
		"label pairs": {V2, pairs()},
	}
}

// limitsWith returns the default limits with some changed.
func limitsWith(change func(*Limits)) Limits {
	l := DefaultLimits()
	change(&l)
	return l
}
