package storeapi

import (
	"cmp"
	"context"
	"math"
	"slices"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

// found is the series of all logs that a call has found. A series that several logs have,
// or its log's window and segments, is there as often until it is sent. It implements
// [samples.Visitor].
//
//	keys    7 3 9 | 7 3 12 | 7 3 9 0 5 | …     ranks of labels
//	        ^ entry.at
//	blocks  chunk chunk | chunk | …            fields 2 of a thanos.Series
//	        ^ entry.from, entry.to
type found struct {
	ctx    context.Context
	dict   *dictionary
	hold   *limit.Hold
	shard  *shard // nil: all series
	wanted span
	// labelsOnly says that no samples are wanted.
	labelsOnly bool

	keys   []uint32
	list   []entry
	blocks [][]byte
	held   int64 // by the blocks that are full
	lookup int64 // what the ids of a log's labels take

	numbers []uint32 // room for the labels of a series
	chunks  []chunk.Chunk
	encoder encoder
}

// span is the time between two timestamps, both included, in ms.
type span struct{ from, to int64 }

// entry is a series of one log.
type entry struct {
	// first is the first two ranks of the key: most comparisons need no more.
	first uint64
	// at is where the key is, and n how long it is: ids of labels at first, and then the ranks
	// of those that are sent, ascending; after a separator, of those that are not. The
	// highest bit of n says that chunks overlap, or that they are not in order.
	at uint64
	n  uint32
	// from and to are where its chunks are.
	block, from, to uint32
}

const mixedBit = 1 << 31

func (e *entry) mixed() bool { return e.n&mixedBit != 0 }

func (f *found) key(e *entry) []uint32 { return f.keys[e.at : e.at+uint64(e.n&^mixedBit)] }

// separator comes between the two parts of a key: no id, and below all ranks.
const (
	separatorID   = math.MaxUint32
	separatorRank = 0
)

// Blocks are twice as large as the one before at first. One is full when it has less room
// than a series mostly takes.
const (
	firstBlock = 8 << 10
	doublings  = 6
	blockSlack = 1 << 10
)

// heldEvery is how many series are found before their room is held.
const heldEvery = 1024

const entryBytes = int64(unsafe.Sizeof(entry{}))

// find finds the series of a query, and sorts them.
func (f *found) find(ctx context.Context, in *samples.Store, v selection.Viewer, q samples.Query) error {
	f.ctx = ctx
	if err := in.Walk(ctx, v, q, f); err != nil {
		return err
	}
	return f.sort()
}

// Window adds the series of a window, each label of which is looked up once.
func (f *found) Window(recent *replica.Recent, from, to int64) error {
	wires := recent.View.LabelWires()
	ids := make([]uint32, len(wires)) // by number, 0 for those that were not asked for, and one more
	f.lookup = 4 * int64(len(ids))
	defer func() { f.lookup = 0 }()
	if err := f.account(); err != nil {
		return err
	}
	reader := recent.Window.Reader(from, to)
	for ref := range recent.From(0) {
		f.chunks = reader.Chunks(ref, f.chunks[:0])
		if len(f.chunks) == 0 {
			continue
		}
		f.numbers = recent.View.LabelNumbers(f.numbers[:0], ref)
		for i, number := range f.numbers {
			if ids[number] == 0 {
				ids[number] = f.dict.ofWire(wires[number]) + 1
			}
			f.numbers[i] = ids[number] - 1
		}
		if err := f.add(span{from, to}); err != nil {
			return err
		}
	}
	return nil
}

// Segments adds a series of the segments.
func (f *found) Segments(series chunk.Series, from, to int64) error {
	f.numbers = f.numbers[:0]
	series.Labels.Range(func(l labels.Label) { f.numbers = append(f.numbers, f.dict.of(l.Name, l.Value)) })
	f.chunks = append(f.chunks[:0], series.Chunks...)
	return f.add(span{from, to})
}

// add adds the series at hand, of which there are chunks for a time.
func (f *found) add(of span) error {
	if f.shard != nil && !f.shard.has(f.dict, f.numbers) {
		return nil
	}
	e := entry{at: uint64(len(f.keys))}
	if !f.labelsOnly {
		if err := f.encode(&e, of); err != nil || e.from == e.to {
			return err
		}
	}
	f.addKey()
	e.n |= uint32(uint64(len(f.keys)) - e.at)
	f.list = append(f.list, e)
	if len(f.list)%heldEvery == 0 {
		return f.account()
	}
	return nil
}

// account holds what is found, unless nobody wants it any more.
func (f *found) account() error {
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	return f.hold.Resize(f.bytes() + f.lookup)
}

// addKey appends the key of the series at hand.
func (f *found) addKey() {
	gone := 0
	for _, id := range f.numbers {
		if f.dict.labels[id].removed {
			f.numbers[gone] = id
			gone++
			continue
		}
		f.keys = append(f.keys, id)
	}
	f.keys = append(f.keys, f.dict.ofAdded...)
	if gone > 0 {
		f.keys = append(append(f.keys, separatorID), f.numbers[:gone]...)
	}
}

// encode appends the chunks at hand to the blocks.
func (f *found) encode(e *entry, of span) error {
	last := len(f.blocks) - 1
	if last < 0 || len(f.blocks[last]) >= cap(f.blocks[last])-blockSlack {
		if last >= 0 {
			f.held += int64(cap(f.blocks[last]))
		}
		if err := f.account(); err != nil {
			return err
		}
		f.blocks = append(f.blocks, make([]byte, 0, firstBlock<<min(len(f.blocks), doublings)))
		last++
	}
	block := f.blocks[last]
	e.block, e.from = uint32(last), uint32(len(block))
	block, mixed, err := f.encoder.append(block, f.chunks, f.cut(of))
	if mixed {
		e.n = mixedBit
	}
	f.blocks[last], e.to = block, uint32(len(block))
	return err
}

// cut is what chunks for a time are cut to: what comes before and after what is wanted may
// be sent as well, and what another place has is that place's.
func (f *found) cut(of span) span {
	if of.from <= f.wanted.from {
		of.from = math.MinInt64
	}
	if of.to >= f.wanted.to {
		of.to = math.MaxInt64
	}
	return of
}

// bytes is about what is held.
func (f *found) bytes() int64 {
	n := f.held + 4*int64(cap(f.keys)) + entryBytes*int64(cap(f.list)) + f.dict.bytes
	if len(f.blocks) > 0 {
		n += int64(cap(f.blocks[len(f.blocks)-1]))
	}
	return n
}

// sort sorts the series by their labels as they are sent.
func (f *found) sort() error {
	if err := f.account(); err != nil {
		return err
	}
	f.dict.rank()
	for i := range f.list {
		f.rankKey(&f.list[i])
	}
	slices.SortFunc(f.list, f.compare)
	return nil
}

// rankKey makes ranks of the ids of a key.
func (f *found) rankKey(e *entry) {
	key := f.key(e)
	sent := len(key)
	for i, id := range key {
		if id == separatorID {
			key[i], sent = separatorRank, i
			continue
		}
		key[i] = f.dict.labels[id].rank
	}
	// Only what was added may be out of order.
	for i := sent - len(f.dict.ofAdded); i < sent; i++ {
		for j := i; j > 0 && key[j] < key[j-1]; j-- {
			key[j], key[j-1] = key[j-1], key[j]
		}
	}
	if len(key) > 0 {
		e.first = uint64(key[0]) << 32
	}
	if len(key) > 1 {
		e.first |= uint64(key[1])
	}
}

// compare orders series by their labels, and those that are the same by when they came.
func (f *found) compare(a, b entry) int {
	if c := cmp.Compare(a.first, b.first); c != 0 {
		return c
	}
	if c := slices.Compare(f.key(&a), f.key(&b)); c != 0 {
		return c
	}
	return cmp.Compare(a.at, b.at)
}

// same says whether two entries are of one series.
func (f *found) same(a, b *entry) bool {
	return a.first == b.first && slices.Equal(f.key(a), f.key(b))
}

// sent returns the ranks of the labels that are sent of a series.
func (f *found) sent(e *entry) []uint32 {
	key := f.key(e)
	if i := slices.Index(key, separatorRank); i >= 0 {
		return key[:i]
	}
	return key
}

// chunksOf returns the chunks of a series.
func (f *found) chunksOf(e *entry) []byte { return f.blocks[e.block][e.from:e.to] }
