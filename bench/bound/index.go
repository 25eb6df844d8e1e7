package bound

import "encoding/binary"

// index is what the forwarder knows of series and labels.
type index struct {
	slots   map[key]uint32 // of series
	known   []known        // the first one is nobody's
	numbers map[key]uint32 // of labels
	labels  lists          // the numbers of each series' labels
	before  []label        // of the series before, in the same request
}

// known is a series, and the one that came after it last time: as long as a
// sender keeps to its order, nothing has to be looked up.
type known struct {
	hash uint64
	next uint32
}

// label is where one lies in a request of 1.0, or its symbols, and its number.
type label struct {
	at     span
	number uint32
}

func newIndex() *index {
	return &index{slots: map[key]uint32{}, numbers: map[key]uint32{}, known: make([]known, 1)}
}

// A block is what the log holds of a request: its size and how many series are
// new, the digest, then those series. Each has the number of its labels, and
// the number of each label; the first time it has its text, too. The rest stands
// for the samples.
const (
	blockSeries = 4
	blockDigest = 8
	blockHeader = blockDigest + 16
)

// block appends the block of a request, whose samples take up so many bytes.
func (x *index) block(b []byte, r *request, digest [16]byte, samples int) []byte {
	start, before := len(b), len(x.known)
	b = append(b, make([]byte, blockHeader)...)
	x.before = x.before[:0]
	prev := uint32(0)
	for i := range r.series {
		s := &r.series[i]
		slot := x.known[prev].next
		if slot == 0 || x.known[slot].hash != s.hash {
			k := r.key(s)
			var ok bool
			if slot, ok = x.slots[k]; !ok {
				slot = uint32(len(x.known))
				x.slots[k] = slot
				x.known = append(x.known, known{hash: s.hash})
				b = x.add(b, r, s)
			}
			x.known[prev].next = slot
		}
		prev = slot
	}
	b = append(b, make([]byte, max(0, samples-blockHeader))...)
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start))
	binary.LittleEndian.PutUint32(b[start+blockSeries:], uint32(len(x.known)-before))
	copy(b[start+blockDigest:], digest[:])
	return b
}

// add appends a series that is new. Most of its labels are those of the series
// before, in the same place.
func (x *index) add(b []byte, r *request, s *series) []byte {
	count := len(b)
	b = append(b, 0) // there are fewer than 128 labels
	for i := s.labels.from; i < s.labels.to; b[count]++ {
		var at span
		at, i = r.label(i)
		place := int(b[count])
		if place == len(x.before) {
			x.before = append(x.before, label{})
		}
		before := &x.before[place]
		known := r.same(at, before.at)
		if !known {
			before.at = at
			k := r.labelKey(at)
			if before.number, known = x.numbers[k]; !known {
				before.number = uint32(len(x.numbers))
				x.numbers[k] = before.number
			}
		}
		x.labels.append(before.number)
		b = binary.AppendUvarint(b, uint64(before.number))
		if !known {
			text, more := r.text(at)
			b = binary.AppendUvarint(b, uint64(len(text)+len(more)))
			b = append(append(b, text...), more...)
		}
	}
	return b
}

// lists are numbers one after another, in pieces that stay where they are.
type lists [][]uint32

const piece = 16 << 10

func (l *lists) append(number uint32) {
	last := len(*l) - 1
	if last < 0 || len((*l)[last]) == piece {
		*l = append(*l, make([]uint32, 0, piece))
		last++
	}
	(*l)[last] = append((*l)[last], number)
}

// postings is what a server keeps of series: their labels' numbers, the labels'
// text, and for each label the series that have it.
type postings struct {
	series   uint32
	labels   lists
	text     []byte
	postings [][]uint32 // by label
}

// add takes over the new series of a block.
func (p *postings) add(block []byte) {
	b := block[blockHeader:]
	for range binary.LittleEndian.Uint32(block[blockSeries:]) {
		count := b[0]
		b = b[1:]
		for range count {
			number, n := uvarint(b)
			b = b[n:]
			if number == uint64(len(p.postings)) {
				size, n := uvarint(b)
				p.text = append(p.text, b[n:n+int(size)]...)
				b = b[n+int(size):]
				p.postings = append(p.postings, nil)
			}
			p.labels.append(uint32(number))
			p.postings[number] = append(p.postings[number], p.series)
		}
		p.series++
	}
}
