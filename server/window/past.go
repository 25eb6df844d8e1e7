package window

import "github.com/promgrpc/exporter/internal/segment"

// Past is the blocks before those of a window.
type Past struct {
	of     *Window
	blocks *Window
	// Before is the sequence that they end before, and Since the timestamp from which on
	// their samples are kept, in ms.
	Before uint64
	Since  int64
}

// Past returns the blocks that a window does not have. The log has them up to a sequence
// at least, and its time had come to another. Until Adopt the window goes on without them.
func (w *Window) Past(last uint64, time int64) *Past {
	blocks := w.memory.New()
	blocks.alone = true
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &Past{of: w, Before: w.begin, blocks: blocks}
	if p.Before == 0 {
		p.Before = last + 1
	}
	blocks.clock = max(w.clock, time)
	p.Since = blocks.oldest()
	return p
}

// Start says with which sequence the blocks start: those before it have no samples that
// are to be kept. Without it, it is not known that they have not.
func (p *Past) Start(sequence uint64) {
	p.blocks.mu.Lock()
	defer p.blocks.mu.Unlock()
	p.blocks.begin, p.blocks.next = sequence, sequence
}

// ApplyBlock adds the samples of a block, and keeps its values, as [Window.ApplyBlock] does.
func (p *Past) ApplyBlock(b *segment.Block) { p.blocks.ApplyBlock(b) }

// Close gives up what was not adopted.
func (p *Past) Close() { p.blocks.Close() }

// Adopt adds the past to the window, and says whether it belongs to it. The head has the
// series that are known.
func (p *Past) Adopt(known func(ref uint64) bool) bool {
	w, past := p.of, p.blocks
	past.encodeAll()
	past.mu.Lock()
	defer past.mu.Unlock()
	past.lose(known)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begin == 0 && past.next > 0 {
		w.next = past.next
	} else if w.begin != past.next {
		return false
	}
	w.begin, w.time, w.clock = past.begin, max(w.time, past.time), max(w.clock, past.clock)
	w.missing, w.lost, w.dropped = past.missing, max(w.lost, past.lost), max(w.dropped, past.dropped)
	for _, old := range past.list {
		if old != nil {
			pg := w.page(old.number)
			pg.slabs = append(old.slabs, pg.slabs...)
		}
	}
	w.bytes, w.samples = w.bytes+past.bytes, w.samples+past.samples
	past.bytes, past.samples = 0, 0
	w.adoptExemplars(&past.exemplars)
	past.clear()
	return true
}

// encodeAll encodes all tails of a window that nobody else applies to.
func (w *Window) encodeAll() {
	for w.queueAll() {
		w.encodeDue()
	}
}

// queueAll has all tails encoded, and says whether there are any.
func (w *Window) queueAll() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, pg := range w.list {
		if pg != nil && len(pg.tail) > 0 && !pg.queued {
			w.queue(pg.number)
		}
	}
	return len(w.due) > 0
}

// lose raises the floor above the samples of series that the head does not have.
func (w *Window) lose(known func(ref uint64) bool) {
	for _, pg := range w.list {
		if pg == nil {
			continue
		}
		for offset := range uint16(pageSize) {
			if known(pg.number*pageSize + uint64(offset)) {
				continue
			}
			if latest, ok := pg.latest(offset); ok {
				w.lost = max(w.lost, latest+1)
			}
		}
	}
}

// adoptExemplars puts older exemplars before those of the window.
func (w *Window) adoptExemplars(older *exemplars) {
	var all exemplars
	for _, x := range []*exemplars{older, &w.exemplars} {
		for n := x.first; n < x.next; n++ {
			e := &x.ring[n%mostExemplars]
			w.count(-e.bytes(), 0)
			all.add(w, &segment.Exemplar{Ref: e.ref, Data: e.data}, e.time)
		}
	}
	w.exemplars = all
}
