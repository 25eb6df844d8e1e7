package split

import (
	"math"
	"sync"
	"unsafe"

	"github.com/promgrpc/exporter/internal/buffer"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/snappyblock"
)

// mostDecoded is what positions in a body fit into.
const mostDecoded = math.MaxInt32

// splitter is the state of splitting one body. Its slices are used again by the next.
type splitter struct {
	rule Rule
	room func(int64) error
	// held is what room was last asked for: memory that is in use, by capacity.
	held int64

	wanted  []string // labels that decide
	lengths lengths  // of their names
	values  [][]byte // of the series at hand, by those
	fixed   int      // the index of the tenant among them, -1 if it is none
	tenant  []byte

	decoded *buffer.Buffer
	entries []entry
	pieces  []placement.Key // of series that are split by timestamps
	lists   []list          // by group
	// families are where the metadata of 1.0 lies.
	families []span
	symbols  []symbol
	used     []uint32 // symbols of the part at hand, in the order of its own numbers
	scratch  []byte   // of the series at hand
	out      writer
	excerpts []excerpt // by group
}

// span is where a field lies in the body.
type span struct{ start, end uint32 }

// entry is a run of a group: series that follow each other in the body, or a piece of one.
type entry struct {
	span

	group uint16
	next  int32 // of the same group, -1: none
	piece int32 // index of its key in pieces, -1: all are whole
}

// list is of the entries of one group.
type list struct{ first, last, series int32 }

// symbol is one of 2.0.
type symbol struct {
	span

	content uint32 // where the text begins
	number  uint32 // in the part, if that has it
	part    uint16 // which has it, counted from 1
	wanted  uint8  // one more than the index of the label whose name it is
}

var splitters = sync.Pool{New: func() any { return &splitter{} }}

// keep bounds what a splitter keeps of each kind between bodies.
const keep = 1 << 16

func take(r *Rule, room func(int64) error) *splitter {
	s := splitters.Get().(*splitter)
	s.rule, s.room, s.held = *r, room, 0
	s.wanted, s.lengths, s.fixed, s.tenant = nil, lengths{}, -1, nil
	if r.Placement.Spread() == placement.ByLabels {
		s.wanted = r.Placement.Labels()
	}
	s.values = append(s.values[:0], make([][]byte, len(s.wanted))...)
	for i, name := range s.wanted {
		s.lengths.add(len(name))
		if name == r.TenantLabel {
			s.fixed, s.tenant = i, []byte(r.Tenant)
		}
	}
	s.lists = s.lists[:0]
	s.excerpts = s.excerpts[:0]
	for range r.Placement.Groups() {
		s.lists = append(s.lists, list{first: -1, last: -1})
		s.excerpts = append(s.excerpts, excerpt{})
	}
	return s
}

func (s *splitter) release() {
	if s.decoded != nil {
		s.decoded.Release()
	}
	s.rule, s.room, s.decoded, s.wanted, s.tenant = Rule{}, nil, nil, nil, nil
	clear(s.values)
	if cap(s.entries) > keep || cap(s.pieces) > keep || cap(s.families) > keep || cap(s.symbols) > keep || cap(s.scratch) > keep {
		return
	}
	s.entries, s.pieces, s.families = s.entries[:0], s.pieces[:0], s.families[:0]
	s.symbols, s.used, s.scratch = s.symbols[:0], s.used[:0], s.scratch[:0]
	splitters.Put(s)
}

// ask asks for so much more.
func (s *splitter) ask(n int64) error {
	if err := s.room(s.held + n); err != nil {
		return err
	}
	s.held += n
	return nil
}

// push appends to a list of the splitter, which grows by what there is room for.
func push[T any](s *splitter, all *[]T, one T) error {
	if len(*all) == cap(*all) {
		more := max(64, 2*cap(*all))
		if err := s.ask(int64(more) * int64(unsafe.Sizeof(one))); err != nil {
			return err
		}
		*all = append(make([]T, 0, more), *all...)
	}
	*all = append(*all, one)
	return nil
}

// kept is what a splitter has before a body: the piece that is compressed at a time, and
// what it keeps between bodies.
func (s *splitter) kept() int64 {
	return pieceSize + int64(cap(s.entries))*int64(unsafe.Sizeof(entry{})) + int64(cap(s.pieces))*8 + int64(cap(s.families))*8 +
		int64(cap(s.symbols))*int64(unsafe.Sizeof(symbol{})) + int64(cap(s.used))*4 + int64(cap(s.scratch))
}

// decode decodes the body.
func (s *splitter) decode(body []byte, n int) error {
	if err := s.ask(s.kept() + int64(buffer.Size(n))); err != nil {
		return err
	}
	s.decoded = buffer.Get(n)
	decoded, err := snappyblock.Decode(s.decoded.Bytes[:cap(s.decoded.Bytes)], body)
	if err != nil {
		return ErrDamaged
	}
	s.decoded.Bytes = decoded
	return nil
}

// add notes a series of a group.
func (s *splitter) add(group int, at span, piece int32) error {
	i := int32(len(s.entries))
	if i > 0 && piece < 0 {
		if e := &s.entries[i-1]; int(e.group) == group && e.piece < 0 && e.end == at.start {
			e.end = at.end
			s.lists[group].series++
			return nil
		}
	}
	if err := push(s, &s.entries, entry{at, uint16(group), -1, piece}); err != nil {
		return err
	}
	l := &s.lists[group]
	if l.last < 0 {
		l.first = i
	} else {
		s.entries[l.last].next = i
	}
	l.last = i
	l.series++
	return nil
}

// familyGroups returns the groups that families are needed in: those of their series.
func (s *splitter) familyGroups() (groups []int) {
	p := s.rule.Placement
	if p.Spread() != placement.ByLabels {
		return []int{s.rule.last()}
	}
	names := p.Last()
	for i, name := range p.Groups() {
		if len(names) > 0 && names[0] == name {
			groups, names = append(groups, i), names[1:]
		}
	}
	return groups
}

// place notes a series by its key. Which fields have what is as its schema says.
func (s *splitter) place(k placement.Key, at span, series []byte, f *fields) error {
	p := s.rule.Placement
	last := p.LastEpoch()
	if last == 0 {
		return s.add(p.InEpoch(0, k), at, -1)
	}
	first, last, err := f.epochs(p, series)
	if err != nil {
		return err
	}
	group, moves := p.InEpoch(first, k), false
	for e := first + 1; e <= last; e++ {
		moves = moves || p.InEpoch(e, k) != group
	}
	if !moves {
		return s.add(group, at, -1)
	}
	piece := int32(len(s.pieces))
	if err := push(s, &s.pieces, k); err != nil {
		return err
	}
	for e := first; e <= last; e++ {
		group := p.InEpoch(e, k)
		// The newest entry of a group shows whether the series is in it.
		newest := s.lists[group].last
		if newest >= 0 && s.entries[newest].piece == piece || !f.has(p, series, k, group) {
			continue
		}
		if err := s.add(group, at, piece); err != nil {
			return err
		}
	}
	return nil
}

// key is that of the series whose values were found.
func (s *splitter) key() (k placement.Key) {
	if len(s.wanted) == 0 {
		return s.rule.Key
	}
	if s.fixed >= 0 {
		s.values[s.fixed] = s.tenant
	}
	for _, value := range s.values {
		k = k.With(value)
	}
	return k
}
