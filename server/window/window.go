package window

import (
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// pageSize is how many references share a page.
const pageSize = 1024

// Window is the recent samples of one log. One goroutine applies blocks; any number may
// take views meanwhile. A nil one takes blocks, and has nothing.
type Window struct {
	memory *Memory
	span   int64 // ms
	alone  bool  // the goroutine that applies encodes, too

	mu   sync.Mutex
	list []*page // nil: no samples
	// first is the number of the first page in the list.
	first uint64
	// epoch is how many views were taken: what is older is in one.
	epoch uint64
	// begin is the first sequence of the blocks without a gap, and next the one that
	// continues them; 0: there are none.
	begin, next uint64
	time        int64 // the latest of the blocks
	clock       int64 // the log's time, which may be known to have come further
	// missing is the timestamp below which samples may be in blocks before those, lost the
	// one below which series have them that were dropped, and dropped the one below which
	// samples were given up because memory was short.
	missing, lost, dropped int64
	swept                  int64 // the log's time when slabs were last dropped for their age
	bytes                  int64
	samples                int64 // in slabs and tails
	applied                time.Time
	exemplars              exemplars
	due                    []uint64 // numbers of pages to be encoded
	encoding               bool     // somebody encodes what is due
	tails                  uint64   // how many tails there were
}

// New returns an empty window of a log.
func (m *Memory) New() *Window {
	if m == nil || m.o.Span <= 0 {
		return nil
	}
	w := &Window{memory: m, span: m.o.Span.Milliseconds(), missing: minTime, lost: minTime, dropped: minTime, time: minTime, clock: minTime}
	m.add(w)
	return w
}

// Close gives up what the window has.
func (w *Window) Close() {
	if w == nil {
		return
	}
	w.memory.remove(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clear()
}

// clear gives up all samples. What follows may have none of them from the future, however
// far that is. The caller holds the lock.
func (w *Window) clear() {
	for _, pg := range w.list {
		if pg != nil {
			w.lost = max(w.lost, pg.end())
		}
	}
	w.begin, w.next = 0, 0
	w.list, w.due, w.exemplars = nil, nil, exemplars{}
	w.count(-w.bytes, -w.samples)
}

// count notes that bytes and samples came or went.
func (w *Window) count(bytes, samples int64) {
	w.bytes += bytes
	w.samples += samples
	w.memory.bytes.Add(bytes)
}

// ApplyBlock adds the samples of a block, and keeps its values, which must not be written
// any more. The head knows its series.
func (w *Window) ApplyBlock(b *segment.Block) {
	if w == nil {
		return
	}
	w.apply(b)
	w.memory.fit()
	w.encodeSome()
}

func (w *Window) apply(b *segment.Block) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = max(w.time, b.Time)
	w.clock = max(w.clock, w.time)
	if b.Sequence != w.next {
		w.restart(b)
	}
	w.next = b.Sequence + 1
	w.applied = time.Now()
	oldest := w.oldest()
	for part, h := range b.Parts() {
		switch {
		case h != nil && h.Timestamp >= oldest:
			w.page(h.Ref/pageSize).addHistogram(w, h)
		case h == nil && part.Timestamp >= oldest:
			w.addFloats(part)
		}
	}
	for i := range b.Exemplars {
		w.exemplars.add(w, &b.Exemplars[i], w.time)
	}
	if w.clock-w.swept >= w.span/sweeps {
		w.sweep()
	}
}

// restart begins with a block that does not continue those before it.
func (w *Window) restart(b *segment.Block) {
	w.begin = b.Sequence
	// What is missing has no samples that are later, but for those from the future.
	if w.missing = b.Time + head.ClockSkew; b.Sequence == 1 {
		w.missing = minTime
	}
}

// MissesUntil says that blocks before those that were applied have samples up to a
// timestamp, in ms.
func (w *Window) MissesUntil(ms int64) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.missing = max(w.missing, ms+1)
}

// ApplyKeyframe notes the state of the log at a sequence, which the blocks may not have
// come to.
func (w *Window) ApplyKeyframe(sequence uint64) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next != sequence+1 {
		w.begin, w.next = 0, 0
	}
}

// sweeps is how often slabs are dropped for their age while time goes on by a span.
const sweeps = 32

// oldest is the timestamp below which samples are not kept. The caller holds the lock.
func (w *Window) oldest() int64 { return max(w.clock-w.span, w.dropped) }

// floor is the timestamp from which on all samples are there. The caller holds the lock.
func (w *Window) floor() int64 {
	if w.next == 0 {
		return maxTime
	}
	return max(w.oldest(), w.missing, w.lost)
}

// addFloats adds floats that have one timestamp.
func (w *Window) addFloats(part segment.Part) {
	for len(part.Values) > 0 {
		offset := part.First % pageSize
		n := min(len(part.Values), int(pageSize-offset))
		w.page(part.First/pageSize).addFloats(w, uint16(offset), part.Timestamp, part.Values[:n:n])
		part.First += uint64(n)
		part.Values = part.Values[n:]
	}
}

// page returns a page to be changed.
func (w *Window) page(number uint64) *page {
	switch {
	case len(w.list) == 0:
		w.first = number
	case number < w.first:
		w.list = append(make([]*page, w.first-number), w.list...)
		w.first = number
	}
	if more := int(number-w.first) + 1 - len(w.list); more > 0 {
		w.list = append(w.list, make([]*page, more)...)
	}
	at := &w.list[number-w.first]
	switch {
	case *at == nil:
		w.tails++
		*at = &page{number: number, epoch: w.epoch, id: w.tails}
	case (*at).epoch != w.epoch: // A view has it.
		own := **at
		own.epoch = w.epoch
		*at = &own
	}
	return *at
}

// at returns a page, nil if there is none.
func at(list []*page, first, number uint64) *page {
	if number < first || number-first >= uint64(len(list)) {
		return nil
	}
	return list[number-first]
}

// sweep drops slabs that are too old, and has tails encoded that are not written to any
// more. The caller holds the lock.
func (w *Window) sweep() {
	w.swept = w.clock
	oldest := w.oldest()
	for i, pg := range w.list {
		if pg == nil {
			continue
		}
		if pg.old(oldest) {
			pg = w.page(pg.number)
			pg.drop(w, oldest)
		}
		if pg.empty() {
			w.list[i] = nil
		} else if pg.due(w) {
			w.queue(pg.number)
		}
	}
	for len(w.list) > 0 && w.list[0] == nil {
		w.list = w.list[1:]
		w.first++
	}
	w.exemplars.drop(w, oldest)
}

// SeriesDropped says that the head has dropped a series. Its samples are not found any
// more, so what there was of it is below the floor.
func (w *Window) SeriesDropped(ref uint64) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if pg := at(w.list, w.first, ref/pageSize); pg != nil {
		if latest, ok := pg.latest(uint16(ref % pageSize)); ok && latest >= w.oldest() {
			w.lost = max(w.lost, latest+1)
		}
	}
}
