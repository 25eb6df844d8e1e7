package remotewrite

import (
	"bytes"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// TestExemplarBytes spells exemplars in many ways. Labels without a value are left out,
// as those of series are, and what says the same is the same bytes.
func TestExemplarBytes(t *testing.T) {
	label := func(name, value string) []byte {
		return bytesField(1, append(bytesField(1, []byte(name)), bytesField(2, []byte(value))...))
	}
	value := []byte{0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f}
	at := []byte{0x18, 5}
	want := slices.Concat(label("a", "1"), label("b", "2"), value, at)
	for name, spelt := range map[string][]byte{
		"as it is":         want,
		"another order":    slices.Concat(at, label("a", "1"), value, label("b", "2")),
		"an unknown field": slices.Concat(want, []byte{0x20, 1}),
		"value said twice": slices.Concat(value, want),
		"a long tag":       slices.Concat(label("a", "1"), label("b", "2"), value, []byte{0x98, 0x80, 0, 5}),
		"an empty value":   slices.Concat(label("empty", ""), label("a", "1"), label("b", "2"), value, at),
		"no value":         slices.Concat(label("a", "1"), bytesField(1, bytesField(1, []byte("none"))), label("b", "2"), value, at),
	} {
		series := slices.Concat(label("__name__", "up"), bytesField(3, spelt))
		r := NewRequest(DefaultLimits())
		if err := decode(r, V1, bytesField(1, series)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(r.Exemplars) != 1 || !bytes.Equal(r.Exemplars[0], want) {
			t.Errorf("%s: %x, want %x", name, r.Exemplars, want)
		}
	}
	r := NewRequest(DefaultLimits())
	symbols := []string{"", "__name__", "up", "a", "1", "b", "2", "empty"}
	req := writev2.Request{Symbols: symbols, Timeseries: []writev2.TimeSeries{{
		LabelsRefs: []uint32{1, 2},
		Exemplars:  []writev2.Exemplar{{LabelsRefs: []uint32{3, 4, 7, 0, 5, 6}, Value: 1, Timestamp: 5}},
	}}}
	body, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := decode(r, V2, body); err != nil {
		t.Fatal(err)
	}
	if len(r.Exemplars) != 1 || !bytes.Equal(r.Exemplars[0], want) {
		t.Errorf("2.0: %x, want %x", r.Exemplars, want)
	}
	var read prompb.Exemplar
	if err := read.Unmarshal(want); err != nil || len(read.Labels) != 2 {
		t.Errorf("%v: %v", &read, err)
	}
}
