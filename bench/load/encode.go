package load

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// encoder writes requests of either version, without the plain library's
// allocations: millions of samples are encoded before a measurement begins.
type encoder struct {
	version int
	out     []byte
	one     []byte // a series
	part    []byte // of a series
	symbols map[string]uint64
	names   []string
	raw     int64
	labels  int
}

var help = []string{
	kindCounter:   "Connections that the client has opened since it started, by pool.",
	kindGauge:     "Bytes of the memory pool that are in use.",
	kindHistogram: "Time from the first byte of a request to the last of its answer.",
}

// types of io.prometheus.write.v2.Metadata.
var types = []uint64{kindCounter: 1, kindGauge: 2, kindHistogram: 3}

func (e *encoder) begin(version int) {
	e.version, e.out = version, e.out[:0]
	if version == 2 {
		if e.symbols == nil {
			e.symbols = map[string]uint64{}
		}
		clear(e.symbols)
		e.names = e.names[:0]
		e.symbol("")
	}
}

func (e *encoder) symbol(text string) uint64 {
	n, ok := e.symbols[text]
	if !ok {
		n = uint64(len(e.names))
		e.symbols[text] = n
		e.names = append(e.names, text)
	}
	return n
}

func (e *encoder) series(t *target, i int, at int64) {
	ls := t.labels[i]
	e.labels += len(ls)
	e.one = e.one[:0]
	var sample [32]byte
	s := append(sample[:0], 1<<3|1) // value
	s = binary.LittleEndian.AppendUint64(s, math.Float64bits(t.values[i]))
	s = append(s, 2<<3)
	s = binary.AppendUvarint(s, uint64(at))
	if e.version == 1 {
		for _, l := range ls {
			e.part = protowire.AppendTag(e.part[:0], 1, protowire.BytesType)
			e.part = protowire.AppendString(e.part, l.name)
			e.part = protowire.AppendTag(e.part, 2, protowire.BytesType)
			e.part = protowire.AppendString(e.part, l.value)
			e.field(1, e.part)
		}
		e.field(2, s)
		e.out = protowire.AppendTag(e.out, 1, protowire.BytesType)
		e.out = protowire.AppendBytes(e.out, e.one)
		return
	}
	e.part = e.part[:0]
	for _, l := range ls {
		e.part = protowire.AppendVarint(e.part, e.symbol(l.name))
		e.part = protowire.AppendVarint(e.part, e.symbol(l.value))
	}
	e.field(1, e.part)
	e.field(2, s)
	kind := t.help[i]
	e.part = protowire.AppendTag(e.part[:0], 1, protowire.VarintType)
	e.part = protowire.AppendVarint(e.part, types[kind])
	e.part = protowire.AppendTag(e.part, 3, protowire.VarintType)
	e.part = protowire.AppendVarint(e.part, e.symbol(help[kind]))
	e.field(5, e.part)
	e.out = protowire.AppendTag(e.out, 5, protowire.BytesType)
	e.out = protowire.AppendBytes(e.out, e.one)
}

// field appends a field of the series.
func (e *encoder) field(number protowire.Number, data []byte) {
	e.one = protowire.AppendTag(e.one, number, protowire.BytesType)
	e.one = protowire.AppendBytes(e.one, data)
}

// end returns the request, which is valid until the next begins.
func (e *encoder) end() []byte {
	for _, text := range e.names {
		e.out = protowire.AppendTag(e.out, 4, protowire.BytesType)
		e.out = protowire.AppendString(e.out, text)
	}
	e.names = e.names[:0]
	return e.out
}
