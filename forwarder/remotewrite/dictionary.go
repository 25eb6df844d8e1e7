package remotewrite

import (
	"cmp"
	"errors"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// Labels are the labels of a series as Prometheus would store them: sorted by
// name, without those that have no value, and found good.
type Labels struct {
	// Key of their canonical spelling, see [segment.AppendLabel].
	Key Key
	// Places of the labels, which [Request.Label] knows. They are valid until
	// Labels is called again.
	Places []uint32
}

// dictionary holds the labels that Labels has come across in a request, each of
// which is parsed, checked and copied once: the series of a request have most of
// their labels in common, and most of all with the series before.
type dictionary struct {
	labels []label
	byWire map[string]uint32 // places, by the spelling of 1.0
	byRefs map[uint64]uint32 // places, by the two references of 2.0

	// The labels of the series at hand, by their places in the order in which it
	// has them; those from n on are of the series before.
	row     []uint32
	n       int
	bytes   int  // of all names and values
	known   bool // the label before is the one that the series before had there
	ordered bool // by name, without duplicates
	checked bool // so was the series before
	exact   bool // all are in their canonical spelling
	named   bool

	sorted []uint32
	size   int // in memory
}

type label struct {
	segment.Label
	wire  string // as it was spelt, by 1.0, or would be
	refs  uint64 // as it was spelt, by 2.0
	exact bool   // wire is the canonical spelling
}

func (d *dictionary) reset() {
	if len(d.labels) == 0 {
		return
	}
	const keep = 1 << 12 // clearing a large map costs its largest size for ever
	if len(d.labels) > keep {
		*d = dictionary{}
		return
	}
	d.size = 0
	clear(d.labels)
	clear(d.byWire)
	clear(d.byRefs)
	d.labels, d.row = d.labels[:0], d.row[:0]
}

// begin begins a series.
func (d *dictionary) begin() {
	d.checked = d.ordered && len(d.row) > 0
	d.n, d.bytes, d.known, d.ordered, d.exact, d.named = 0, 0, false, true, true, false
}

// guess returns the label that the series before has where the next one comes.
func (d *dictionary) guess() (*label, bool) {
	if d.n >= len(d.row) {
		return nil, false
	}
	return &d.labels[d.row[d.n]], true
}

// take takes the next label, and is told whether it was a guess.
func (d *dictionary) take(place uint32, guessed bool) {
	if d.n == len(d.row) {
		d.row = append(d.row, place)
	}
	d.row[d.n] = place
	l := &d.labels[place]
	if d.n > 0 && !(guessed && d.known && d.checked) {
		d.ordered = d.ordered && d.labels[d.row[d.n-1]].Name < l.Name
	}
	d.exact = d.exact && l.exact
	d.bytes += len(l.Name) + len(l.Value)
	d.named = d.named || l.Name == metricName && l.Value != ""
	d.known = guessed
	d.n++
}

// Label returns a label by the place that Labels gave it. Its strings may be kept.
func (r *Request) Label(place uint32) segment.Label { return r.dictionary.labels[place].Label }

// Labels returns the labels of a series whose own spelling has this key, or why
// no series may have them.
func (r *Request) Labels(s *Series, spelt Key) (Labels, error) {
	d := &r.dictionary
	d.begin()
	var err error
	if len(s.refs) > 0 {
		err = r.takeRefs(s.refs)
	} else {
		err = r.takeWire(s.labels)
	}
	d.row = d.row[:d.n]
	// Also of a series that is refused, for it took as much to find out.
	if tooMuch := r.Spend(d.bytes); tooMuch != nil {
		return Labels{}, tooMuch
	}
	if err != nil {
		return Labels{}, err
	}
	if d.bytes > r.limits.LabelsBytes {
		return Labels{}, limit.Over(flagLabelsBytes, "its labels take %d bytes, the limit is %d", d.bytes, r.limits.LabelsBytes)
	}
	if d.ordered && d.exact && d.named && len(s.refs) == 0 {
		return Labels{spelt, d.row}, nil
	}
	return r.canonical()
}

// takeWire takes the labels of a 1.0 series.
func (r *Request) takeWire(b []byte) error {
	d := &r.dictionary
	for i := 0; i < len(b); {
		_, end := shortField(b, i, 0x0a)
		if end == 0 {
			f, ok := readField(b, i)
			if !ok || f.number != 1 || f.wire != typeBytes {
				return errLabelDamaged
			}
			end = f.next
		}
		wire := b[i:end]
		i = end
		if l, ok := d.guess(); ok && l.wire == string(wire) {
			d.take(d.row[d.n], true)
			continue
		}
		place, ok := d.byWire[string(wire)]
		if !ok {
			var err error
			if place, err = r.learnWire(wire); err != nil {
				return err
			}
		}
		if d.n == r.limits.Labels {
			return r.manyLabels
		}
		d.take(place, false)
	}
	return nil
}

// takeRefs takes the labels of a 2.0 series, whose references are good.
func (r *Request) takeRefs(refs []byte) error {
	d := &r.dictionary
	for i := 0; i < len(refs); {
		var name, value uint64
		name, i = varint(refs, i)
		value, i = varint(refs, i)
		pair := uint64(uint32(name))<<32 | uint64(uint32(value))
		if l, ok := d.guess(); ok && l.refs == pair {
			d.take(d.row[d.n], true)
			continue
		}
		place, ok := d.byRefs[pair]
		if !ok {
			var err error
			if place, err = r.learnRefs(pair); err != nil {
				return err
			}
		}
		d.take(place, false)
	}
	return nil
}

// labelSize is what a label takes at most besides its text: its place in the
// dictionary while that grows, and in a map.
const labelSize = 224

// mostDictionary is what all labels of a request take at most.
func mostDictionary(l Limits) int { return max(2*l.DecodedBytes, 1<<20) }

// takeLabel takes memory for a label whose wire form is so long. Of few symbols there
// are many pairs.
func (r *Request) takeLabel(wire int) error {
	d := &r.dictionary
	if d.size+labelSize+wire > mostDictionary(r.limits) {
		return r.manyDistinct
	}
	d.size += labelSize + wire
	return nil
}

// learnWire takes a label of 1.0 into the dictionary.
func (r *Request) learnWire(wire []byte) (uint32, error) {
	if err := r.takeLabel(len(wire)); err != nil {
		return 0, err
	}
	l := label{wire: string(wire)}
	err := eachLabel(wire, func(name, value span) error {
		l.Label = segment.Label{Name: l.wire[name.from:name.to], Value: l.wire[value.from:value.to]}
		return checkLabel(r.limits, l.Name, l.Value)
	})
	if err != nil {
		return 0, err
	}
	r.wire = segment.AppendLabel(r.wire[:0], l.Name, l.Value)
	l.exact = l.Value != "" && string(r.wire) == l.wire
	d := &r.dictionary
	place := uint32(len(d.labels))
	d.labels = append(d.labels, l)
	if d.byWire == nil {
		d.byWire = make(map[string]uint32)
	}
	d.byWire[l.wire] = place
	return place, nil
}

// learnRefs takes a label of 2.0 into the dictionary.
func (r *Request) learnRefs(pair uint64) (uint32, error) {
	d := &r.dictionary
	name, value := r.symbols[pair>>32], r.symbols[uint32(pair)]
	// The check comes before the copy, for there may be many of a long symbol.
	if err := checkLabel(r.limits, name, value); err != nil {
		d.bytes += min(len(name), r.limits.NameBytes) + min(len(value), r.limits.ValueBytes)
		return 0, err
	}
	r.wire = segment.AppendLabel(r.wire[:0], name, value)
	if err := r.takeLabel(len(r.wire)); err != nil {
		return 0, err
	}
	l := label{wire: string(r.wire), refs: pair}
	end := len(l.wire) - len(value)
	l.Value = l.wire[end:]
	end -= 1 + protowire.SizeVarint(uint64(len(value)))
	l.Name = l.wire[end-len(name) : end]
	l.exact = l.Value != ""
	place := uint32(len(d.labels))
	d.labels = append(d.labels, l)
	if d.byRefs == nil {
		d.byRefs = make(map[uint64]uint32)
	}
	d.byRefs[pair] = place
	return place, nil
}

// canonical brings the labels that were taken into their canonical spelling, and
// checks what concerns all of them.
func (r *Request) canonical() (Labels, error) {
	d := &r.dictionary
	places := d.row
	if !d.ordered || !d.exact {
		d.sorted = append(d.sorted[:0], d.row...)
		slices.SortStableFunc(d.sorted, func(a, b uint32) int { return cmp.Compare(d.labels[a].Name, d.labels[b].Name) })
		for i := 1; i < len(d.sorted); i++ {
			if name := d.labels[d.sorted[i]].Name; name == d.labels[d.sorted[i-1]].Name {
				return Labels{}, reasonf("duplicate label name %q", cut(name))
			}
		}
		places = slices.DeleteFunc(d.sorted, func(place uint32) bool { return d.labels[place].Value == "" })
	}
	if !d.named {
		return Labels{}, errors.New("no metric name (label __name__)")
	}
	r.wire = r.wire[:0]
	for _, place := range places {
		l := &d.labels[place]
		if l.exact {
			r.wire = append(r.wire, l.wire...)
		} else {
			r.wire = segment.AppendLabel(r.wire, l.Name, l.Value)
		}
	}
	return Labels{KeyOf(r.wire), places}, nil
}

func checkLabel[T string | []byte](limits Limits, name, value T) error {
	switch {
	case len(name) == 0:
		return errEmptyName
	case len(name) > limits.NameBytes:
		return limit.Over(flagNameBytes, "label name %q of %d bytes, the limit is %d", cut(name), len(name), limits.NameBytes)
	case len(value) > limits.ValueBytes:
		return limit.Over(flagValueBytes, "value of label %q of %d bytes, the limit is %d", cut(name), len(value), limits.ValueBytes)
	case !valid(name):
		return reasonf("label name %q is not valid UTF-8", cut(name))
	case !valid(value):
		return reasonf("value of label %q is not valid UTF-8", cut(name))
	}
	return nil
}

var errEmptyName = errors.New("empty label name")

func valid[T string | []byte](text T) bool {
	if b, ok := any(text).([]byte); ok {
		return utf8.Valid(b)
	}
	return utf8.ValidString(string(text))
}
