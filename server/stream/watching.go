package stream

import (
	"slices"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/watch"
)

// A stream that follows few series has them watched once it has come to the present: it
// sleeps through the blocks that have none of them, and passes over these when it is woken
// or has anything else to send. What it sends, and its cursors, are the same.

// startWatching has the series of the stream watched, if they are few, and if it is where
// the logs are.
func (st *stream) startWatching() error {
	if st.watch != nil || !st.watchable() {
		return nil
	}
	left := watch.MaxSeries / 2 // So that there is room for new ones.
	found := make([]*replica.Selected, len(st.sources))
	for i, src := range st.sources {
		var err error
		if found[i], err = src.replica.Selected(st.evaluation, &st.selection, left); err != nil {
			return err
		}
		if left -= len(found[i].Refs); left < 0 {
			st.wide = true
			return nil
		}
		if found[i].Sequence != src.sequence {
			return nil // A block has come. There is another end to come to.
		}
	}
	logs := make([]watch.Log, len(found))
	for i, src := range st.sources {
		src.matched.learn(found[i])
		logs[i] = watch.Log{Replica: src.replica, Read: src.sequence, Refs: found[i].Refs, Next: found[i].Next}
	}
	st.watch = st.streams.watches.Watch(&st.selection, logs)
	return nil
}

// watchable says whether the stream may be able to sleep. One that keeps the requests of
// what it passes has to see each block, and so does one of all series. An archived log is
// not watched. Selections that scan are matched in turns, for which a watch would keep
// others waiting.
func (st *stream) watchable() bool {
	if !st.synced || st.wide || st.selection.All() || st.selection.Scans {
		return false
	}
	serving := st.streams.Replicas.Serving()
	return !slices.ContainsFunc(st.sources, func(src *source) bool {
		return src.passed != nil || src.entries > 0 || !slices.Contains(serving, src.replica)
	})
}

// stopWatching has the stream woken for each block.
func (st *stream) stopWatching() {
	if st.watch != nil {
		st.watch.Close()
		st.watch = nil
	}
}

// passOver passes over the blocks that do not concern the stream. It has read what there
// was since it did so last.
func (st *stream) passOver() {
	if st.watch != nil && !st.watch.Passed(func(i int, sequence uint64) { st.sources[i].passOver(sequence) }) {
		st.stopWatching()
	}
}

// passOver passes over the blocks up to one, which have nothing that is selected.
func (src *source) passOver(sequence uint64) {
	if sequence <= src.sequence {
		return
	}
	if invariant.On {
		src.checkPassedOver(sequence)
	}
	src.reader.SkipTo(sequence)
	src.sequence = sequence
	src.labels.moveTo(sequence)
}

// checkPassedOver checks that nothing is selected of the blocks up to one that are in
// memory.
func (src *source) checkPassedOver(sequence uint64) {
	reader, err := src.replica.Log.ReadAfter(src.sequence)
	if err != nil {
		return
	}
	for {
		b, err := reader.Next(func() error { return seglog.ErrClosed })
		if err != nil || b == nil || b.Sequence > sequence {
			return
		}
		check := func(ref uint64) {
			labels, ok := src.replica.Head.Labels(ref, nil)
			invariant.Check(!ok || !src.labels.stream.selection.Matches(labels), "block %d has series %d, which is selected, and is passed over", b.Sequence, ref)
		}
		for part, h := range b.Parts() {
			if h != nil {
				check(h.Ref)
				continue
			}
			for i := range part.Values {
				check(part.First + uint64(i))
			}
		}
		for i := range b.Exemplars {
			check(b.Exemplars[i].Ref)
		}
	}
}
