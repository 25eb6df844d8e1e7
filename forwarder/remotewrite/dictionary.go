package remotewrite

import (
	"cmp"
	"errors"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/protoscan"
	"github.com/promgrpc/exporter/internal/segment"
)

// Labels are the labels of a series as Prometheus would store them: sorted by
// name, without those that have no value, and found good.
type Labels struct {
	// Key of their canonical spelling, see [segment.AppendLabel].
	Key Key
	// Indexes of the labels, for [Request.Label]. They are valid until Labels is
	// called again.
	Indexes []uint32
}

// dictionary holds the labels that Labels has met in a request. Each is parsed, checked
// and copied once: the series of a request have most of their labels in common.
//
// A row has the indexes of one series' labels. It starts as that of the series before,
// and each label is compared with the one that was there in it; only where they differ
// a map is asked.
//
//	labels   0 __name__=up   1 job=a   2 instance=x   3 instance=y
//
//	series                              row
//	{__name__=up job=a instance=x}      0 1 2      all looked up in the map
//	{__name__=up job=a instance=y}      0 1 3      two guesses, one lookup
type dictionary struct {
	labels []label
	byWire map[string]uint32 // index in labels, by the spelling of 1.0
	byRefs map[uint64]uint32 // and by the two references of 2.0

	// The indexes of the labels of the series at hand, in the order in which it has
	// them; those from n on are still of the series before.
	row     []uint32
	n       int
	bytes   int  // of all names and values
	known   bool // the last label was a guess
	ordered bool // by name, without duplicates
	checked bool // so was the series before: guesses in a row need no comparison
	exact   bool // all are in their canonical spelling
	named   bool

	sorted []uint32
	tenant uint32 // index of the tenant's label, plus one
	size   int    // in memory
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
	const keep = 1 << 12 // clearing a map costs as much as it ever held
	if len(d.labels) > keep {
		*d = dictionary{}
		return
	}
	d.size, d.tenant = 0, 0
	clear(d.labels)
	clear(d.byWire)
	clear(d.byRefs)
	d.labels, d.row = d.labels[:0], d.row[:0]
}

// startSeries says that the next label is the first of a series.
func (d *dictionary) startSeries() {
	d.checked = d.ordered && len(d.row) > 0
	d.n, d.bytes, d.known, d.ordered, d.exact, d.named = 0, 0, false, true, true, false
}

// guess returns the label that the series before has at the position of the next one.
func (d *dictionary) guess() (*label, bool) {
	if d.n >= len(d.row) {
		return nil, false
	}
	return &d.labels[d.row[d.n]], true
}

// add adds the next label of the series at hand, and is told whether it was a guess.
func (d *dictionary) add(index uint32, guessed bool) {
	if d.n == len(d.row) {
		d.row = append(d.row, index)
	}
	d.row[d.n] = index
	l := &d.labels[index]
	if d.n > 0 && !(guessed && d.known && d.checked) {
		d.ordered = d.ordered && d.labels[d.row[d.n-1]].Name < l.Name
	}
	d.exact = d.exact && l.exact
	d.bytes += len(l.Name) + len(l.Value)
	d.named = d.named || l.Name == metricName && l.Value != ""
	d.known = guessed
	d.n++
}

// Label returns a label by its index. Its strings may be kept.
func (r *Request) Label(index uint32) segment.Label { return r.dictionary.labels[index].Label }

// Labels returns the labels of a series whose own spelling has this key, or why
// no series may have them.
func (r *Request) Labels(s *Series, spelt Key) (Labels, error) {
	d := &r.dictionary
	d.startSeries()
	var err error
	if len(s.refs) > 0 {
		err = r.readRefs(s.refs)
	} else {
		err = r.readWire(s.labels)
	}
	d.row = d.row[:d.n]
	if err == nil && !r.tenant.none() {
		err = r.addTenant()
	}
	// Those of a refused series count, too: they cost as much work.
	if tooMuch := r.Spend(d.bytes); tooMuch != nil {
		return Labels{}, tooMuch
	}
	if err != nil {
		return Labels{}, err
	}
	if d.bytes > r.limits.LabelsBytes {
		return Labels{}, limit.Over(flagLabelsBytes, "its labels take %d bytes, the limit is %d", d.bytes, r.limits.LabelsBytes)
	}
	if d.ordered && d.exact && d.named && len(s.refs) == 0 && r.tenant.none() {
		if invariant.On {
			canonical, err := r.canonical()
			invariant.Check(err == nil && canonical.Key == spelt, "labels that pass for canonical are not: %v", err)
		}
		return Labels{spelt, d.row}, nil
	}
	return r.canonical()
}

// readWire reads the labels of a 1.0 series into the row.
func (r *Request) readWire(b []byte) error {
	d := &r.dictionary
	for i := 0; i < len(b); {
		_, end := protoscan.Short(b, i, 0x0a)
		if end == 0 {
			f, ok := protoscan.Read(b, i)
			if !ok || f.Number != fieldLabels || f.Wire != protoscan.TypeBytes {
				return errLabelDamaged
			}
			end = f.Next
		}
		wire := b[i:end]
		i = end
		if l, ok := d.guess(); ok && l.wire == string(wire) {
			d.add(d.row[d.n], true)
			continue
		}
		index, ok := d.byWire[string(wire)]
		if !ok {
			var err error
			if index, err = r.learnWire(wire); err != nil {
				return err
			}
		}
		if d.n == r.limits.Labels {
			return r.manyLabels
		}
		d.add(index, false)
	}
	return nil
}

// readRefs reads the labels of a 2.0 series, whose references are good, into the row.
func (r *Request) readRefs(refs []byte) error {
	d := &r.dictionary
	for i := 0; i < len(refs); {
		var name, value uint64
		name, i = protoscan.Varint(refs, i)
		value, i = protoscan.Varint(refs, i)
		pair := uint64(uint32(name))<<32 | uint64(uint32(value))
		if l, ok := d.guess(); ok && l.refs == pair {
			d.add(d.row[d.n], true)
			continue
		}
		index, ok := d.byRefs[pair]
		if !ok {
			var err error
			if index, err = r.learnRefs(pair); err != nil {
				return err
			}
		}
		d.add(index, false)
	}
	return nil
}

// labelSize is what a label takes at most besides its text: in the dictionary, while
// that grows, and in a map.
const labelSize = 224

// mostDictionary is what all labels of a request take at most.
func mostDictionary(l Limits) int { return max(2*l.DecodedBytes, 1<<20) }

// reserveLabel counts the memory of a label whose wire form is so long: few symbols can
// make many pairs.
func (r *Request) reserveLabel(wire int) error {
	d := &r.dictionary
	if d.size+labelSize+wire > mostDictionary(r.limits) {
		return r.manyDistinct
	}
	d.size += labelSize + wire
	return nil
}

// learnWire adds a label of 1.0 to the dictionary.
func (r *Request) learnWire(wire []byte) (uint32, error) {
	f, ok := protoscan.Read(wire, 0)
	name, value, good := protoscan.Pair(f.Bytes)
	if !ok || !good {
		return 0, errLabelDamaged
	}
	if err := checkLabel(r.limits, name, value); err != nil {
		return 0, err
	}
	l, err := r.newLabel(name, value)
	if err != nil {
		return 0, err
	}
	if l.wire != string(wire) { // spelt otherwise, and then there are two texts
		if err := r.reserveLabel(len(wire)); err != nil {
			return 0, err
		}
		l.wire, l.exact = string(wire), false
	}
	d := &r.dictionary
	if d.byWire == nil {
		d.byWire = make(map[string]uint32)
	}
	d.byWire[l.wire] = uint32(len(d.labels))
	return d.append(l), nil
}

// learnRefs adds a label of 2.0 to the dictionary.
func (r *Request) learnRefs(pair uint64) (uint32, error) {
	d := &r.dictionary
	name, value := r.symbols[pair>>32], r.symbols[uint32(pair)]
	// The check comes before the copy, for there may be many of a long symbol.
	if err := checkLabel(r.limits, name, value); err != nil {
		d.bytes += min(len(name), r.limits.NameBytes) + min(len(value), r.limits.ValueBytes)
		return 0, err
	}
	l, err := r.newLabel(name, value)
	if err != nil {
		return 0, err
	}
	l.refs = pair
	if d.byRefs == nil {
		d.byRefs = make(map[uint64]uint32)
	}
	d.byRefs[pair] = uint32(len(d.labels))
	return d.append(l), nil
}

// newLabel returns a label in its canonical spelling, of which name and value are parts.
func (r *Request) newLabel(name, value []byte) (label, error) {
	r.wire = segment.AppendLabel(r.wire[:0], name, value)
	if err := r.reserveLabel(len(r.wire)); err != nil {
		return label{}, err
	}
	l := label{wire: string(r.wire), exact: len(value) > 0}
	end := len(l.wire) - len(value)
	l.Value = l.wire[end:]
	end -= 1 + protowire.SizeVarint(uint64(len(value)))
	l.Name = l.wire[end-len(name) : end]
	return l, nil
}

// append adds a label, and returns its index.
func (d *dictionary) append(l label) uint32 {
	d.labels = append(d.labels, l)
	return uint32(len(d.labels) - 1)
}

// canonical brings the row's labels, and the tenant, into their canonical spelling, and
// checks what concerns all of them.
func (r *Request) canonical() (Labels, error) {
	d := &r.dictionary
	indexes := d.row
	if owned := !r.tenant.none(); owned || !d.ordered || !d.exact {
		if !owned {
			d.sorted = append(d.sorted[:0], d.row...)
		}
		slices.SortStableFunc(d.sorted, func(a, b uint32) int { return cmp.Compare(d.labels[a].Name, d.labels[b].Name) })
		for i := 1; i < len(d.sorted); i++ {
			if name := d.labels[d.sorted[i]].Name; name == d.labels[d.sorted[i-1]].Name {
				return Labels{}, reasonf("duplicate label name %q", cut(name))
			}
		}
		indexes = slices.DeleteFunc(d.sorted, func(index uint32) bool { return d.labels[index].Value == "" })
	}
	if !d.named {
		return Labels{}, errors.New("no metric name (label __name__)")
	}
	r.wire = r.wire[:0]
	for _, index := range indexes {
		l := &d.labels[index]
		if l.exact {
			r.wire = append(r.wire, l.wire...)
		} else {
			r.wire = segment.AppendLabel(r.wire, l.Name, l.Value)
		}
	}
	return Labels{KeyOf(r.wire), indexes}, nil
}

func checkLabel(limits Limits, name, value []byte) error {
	switch {
	case len(name) == 0:
		return errEmptyName
	case len(name) > limits.NameBytes:
		return limit.Over(flagNameBytes, "label name %q of %d bytes, the limit is %d", cut(name), len(name), limits.NameBytes)
	case len(value) > limits.ValueBytes:
		return limit.Over(flagValueBytes, "value of label %q of %d bytes, the limit is %d", cut(name), len(value), limits.ValueBytes)
	case !utf8.Valid(name):
		return reasonf("label name %q is not valid UTF-8", cut(name))
	case !utf8.Valid(value):
		return reasonf("value of label %q is not valid UTF-8", cut(name))
	}
	return nil
}

var errEmptyName = errors.New("empty label name")
