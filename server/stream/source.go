package stream

import (
	"bytes"
	"errors"
	"slices"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

// source is one log that a stream reads, and how far it has come.
type source struct {
	replica *replica.Replica
	reader  *seglog.Reader // nil while the snapshot is under way
	labels  *labels
	matched *matched

	sequence     uint64 // last block that was delivered whole
	entries      uint32 // of the next one that were delivered too
	snapshotRef  uint64 // as in cursor.Position
	snapshotTime int64

	passed     *replica.Requests // nil: the replica knows it
	introduced *introduced       // nil: labels throughout
	deferred   deferred          // what min_interval holds back
	snapshot   *replica.Snapshot // that is being sent, nil: none
	block      *segment.Block    // that is being delivered, nil: none

	until uint64 // the present when the stream started
}

func (st *stream) newSource(r *replica.Replica) *source {
	src := &source{
		replica: r,
		labels:  &labels{stream: st, replica: r},
		matched: newMatched(&st.selection, st.evaluation),
		until:   r.Log.Last(),
	}
	if st.references {
		src.introduced = st.newIntroduced()
	}
	return src
}

// bytes is about what the stream's state for this log takes in memory.
func (src *source) bytes() int64 {
	n := src.matched.bytes() + src.deferred.bytes() + src.labels.bytes() + src.passed.Bytes()
	if src.introduced != nil {
		n += src.introduced.Bytes()
	}
	if src.snapshot != nil {
		n += src.snapshot.Bytes()
	}
	if src.block != nil {
		n += int64(src.block.EstimatedBytes())
	}
	if src.reader != nil {
		n += src.reader.Bytes()
	}
	return n
}

func (src *source) caughtUp() bool { return src.sequence >= src.until }

// reached is the last block of which any entry was delivered.
func (src *source) reached() uint64 {
	if src.entries > 0 {
		return src.sequence + 1
	}
	return src.sequence
}

func (src *source) close() {
	if src.reader != nil {
		_ = src.reader.Close()
	}
}

// add adds a source, in the order of the logs' ids.
func (st *stream) add(src *source) {
	st.stopWatching()
	i, _ := slices.BinarySearchFunc(st.sources, src, func(a, b *source) int {
		return bytes.Compare(a.replica.ID[:], b.replica.ID[:])
	})
	st.sources = slices.Insert(st.sources, i, src)
	st.makeRoom()
}

// readAfter opens the reader of a source after a block.
func (src *source) readAfter(sequence uint64) error {
	reader, err := src.replica.Log.ReadAfter(sequence)
	if err != nil {
		return err
	}
	src.use(reader, sequence)
	return nil
}

// readSince opens the reader of a source at a time (ms).
func (src *source) readSince(t int64) error {
	reader, err := src.replica.Log.ReadSince(t)
	if err != nil {
		return err
	}
	src.use(reader, max(src.replica.Log.First(), 1)-1)
	return nil
}

func (src *source) use(reader *seglog.Reader, sequence uint64) {
	reader.Wait = src.labels.stream.decoding.wait
	src.reader, src.sequence = reader, sequence
	src.keepPassed()
}

// addNewLogs adds the logs that the server has and the stream does not, each from its
// oldest block, since the client has nothing of them.
func (st *stream) addNewLogs() error {
	for _, r := range st.streams.Replicas.All() {
		if !r.Serving() || slices.ContainsFunc(st.sources, func(src *source) bool { return src.replica.ID == r.ID }) {
			continue
		}
		var err error
		if p, ok := st.returned(r); ok {
			err = st.takeUp(r, p)
		} else {
			err = st.addFromOldest(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addFromOldest adds a log from its oldest block. What was there when it was retired, if
// it has come back since, was beyond the retention then.
func (st *stream) addFromOldest(r *replica.Replica) error {
	if st.since != nil {
		src := st.newSource(r)
		if err := src.readSince(*st.since); err != nil {
			return err
		}
		st.add(src)
		return nil
	}
	return st.addAfter(r, min(st.streams.Replicas.Retired()[r.ID].Last, r.Log.Last()), 0)
}

// addAfter adds a log after a block and entries of the next, and tells the client what is
// missing there.
func (st *stream) addAfter(r *replica.Replica, after uint64, entries uint32) error {
	src := st.newSource(r)
	for sequence := after; ; {
		err := src.readAfter(sequence)
		var old *seglog.OutOfRangeError
		if errors.As(err, &old) && old.Oldest > sequence+1 {
			if err := st.streams.Replicas.Listed(); err != nil {
				return err
			}
			sequence, entries = old.Oldest-1, 0
			continue
		}
		if err != nil {
			return err
		}
		src.entries = entries
		st.add(src)
		if sequence == after {
			return nil
		}
		st.streams.metrics.gaps.Inc()
		return st.send(st.gapEvent(&metricsv1.Gap{
			LogId:         r.ID.String(),
			AfterSequence: after,
			NextSequence:  sequence + 1,
			Reason:        "a log has come up whose beginning is not kept any more",
		}))
	}
}
