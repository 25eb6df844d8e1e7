package forwarder

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/promgrpc/exporter/forwarder/grouping"
	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// logWriter is the writer's side of the log.
type logWriter interface {
	Append(b *segment.Block) (uint64, error)
	WaitDurable(sequence uint64) error
	RotationDue() bool
	Rotate() error
	Log() *seglog.Log
	// Renewed says why the log is another one than was to be opened, nil if it is not.
	Renewed() error
	Close() error
}

// logStore opens logs.
type logStore interface {
	// open opens the log that was written last, or creates the first.
	open(seglog.Restorer) (logWriter, error)
	// create starts a new log.
	create(seglog.State) (logWriter, error)
	// ids are the logs that there are.
	ids() []segment.LogID
	// openEnded opens one that is not written any more.
	openEnded(segment.LogID) (*seglog.Mirror, error)
}

// folder is a logStore on disk.
type folder struct{ *seglog.Store }

func (f folder) open(r seglog.Restorer) (logWriter, error) { return f.OpenWriter(r) }
func (f folder) create(s seglog.State) (logWriter, error)  { return f.CreateWriter(s) }
func (f folder) ids() []segment.LogID                      { return f.Logs() }
func (f folder) openEnded(id segment.LogID) (*seglog.Mirror, error) {
	return f.OpenEnded(id)
}

// state is an open log with everything that is known of it. It is rebuilt from
// disk as a whole: at start, and when writing failed. Apart from the writer's
// WaitDurable and its Log it belongs to the appender.
type state struct {
	writer   logWriter
	id       *segment.LogID // of the log
	before   place          // where the log before it ends
	head     *head.Head
	intern   *intern
	window   *repeatWindow
	families *families
	nextRef  uint64
	last     uint64             // sequence of the last block
	time     int64              // of it, in ms, or of the segment if that is later
	written  int64              // when a request was appended last, in ms, or later
	belongs  grouping.Belonging // as the log said when it was opened
	dropped  map[uint64]struct{}
	// lastExemplars has the hash of the latest exemplar of each series, as far as the
	// newest segment had any when the log was opened.
	lastExemplars map[uint64]uint64
	block         segment.Block
	// inBlock has, by the index of a label in the request's dictionary, its index in the
	// block's table, or notInBlock.
	inBlock  []int32
	row      []uint32 // of introduce
	prefetch prefetch
	// maxSeries at a time, 0 is without bound.
	maxSeries int
	limits    uint32 // their fingerprint
	pairs     *pairs
	// earlier is what the log holds of the request that is being appended, nil if it
	// is new.
	earlier *earlier
}

// SeriesAdded makes state a head.Observer.
func (s *state) SeriesAdded(uint64, []uint32) {}

// SeriesDropped collects what is to be forgotten after a rotation.
func (s *state) SeriesDropped(ref uint64) { s.dropped[ref] = struct{}{} }

// Renumbered is of no interest: series are found by the key of their labels.
func (s *state) Renumbered() {}

// openState opens the log and rebuilds the state from it. Requests in logs that have
// ended are known, too.
func openState(store logStore, old *endedLogs) (*state, error) {
	s := &state{window: newRepeatWindow(seglog.RepeatWindow, windowReasons), families: newFamilies(), dropped: map[uint64]struct{}{}, lastExemplars: map[uint64]uint64{}}
	s.head = head.NewObserved(s)
	w, err := store.open(restored{s.head, s})
	if err != nil {
		return nil, err
	}
	s.setWriter(w)
	s.recall()
	old.adopt(store, *s.id)
	before := old.all()
	if n := len(before); n > 0 {
		s.before = before[n-1].end()
	}
	if err := s.restoreWindow(before); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("read digests: %w", err)
	}
	if err := s.recallPlacement(); err != nil {
		_ = w.Close()
		return nil, err
	}
	clear(s.dropped)
	return s, nil
}

func (s *state) setWriter(w logWriter) {
	id := w.Log().ID()
	s.writer, s.id, s.last = w, &id, w.Log().Last()
}

// end is the last block. What a log begins with is what the one before it ended with.
func (s *state) end() place {
	if s.last == 0 {
		return s.before
	}
	return place{s.id, s.last}
}

// waitDurable waits until a block is durable here. Those of other logs are: they have
// ended.
func (s *state) waitDurable(p place) error {
	if !p.in(s.id) {
		return nil
	}
	return s.writer.WaitDurable(p.sequence)
}

// restored is a state that is rebuilt from the log.
type restored struct {
	*head.Head
	state *state
}

// ApplyBlock remembers the exemplars too, which the head does not keep. Those from
// before the newest segment are forgotten.
func (r restored) ApplyBlock(b *segment.Block) error {
	for i := range b.Exemplars {
		r.state.lastExemplars[b.Exemplars[i].Ref] = remotewrite.HashBytes(b.Exemplars[i].Data)
	}
	r.state.time = max(r.state.time, b.Time)
	return r.Head.ApplyBlock(b)
}

// recall rebuilds from the head, which is what the log says, what is known of series
// and families.
func (s *state) recall() {
	s.nextRef = s.head.NextRef()
	s.recallSeries()
	// What the newest segment holds was said when it was started, or later.
	s.families.recall(s.head, s.segmentTime())
}

// segmentTime is when the newest segment was started, in ms. No block in it is from before
// that, so that one that has none yet has a time, too.
func (s *state) segmentTime() int64 {
	segments := s.writer.Log().Segments()
	created := segments[len(segments)-1].CreateTime.UnixMilli()
	s.time = max(s.time, created)
	return created
}

func (s *state) recallSeries() {
	n := s.head.Len()
	s.intern = newIntern()
	latest := make([]entry, 0, n)
	s.head.Each(func(ref uint64, l *segment.Latest) bool {
		s.written = max(s.written, l.Written)
		e := entry{ref: ref}
		switch {
		case l.None:
		case l.Histogram != nil:
			e.setLatest(saidBy(l.Timestamp, remotewrite.IdentityOf(l.Histogram)))
		default:
			e.setLatest(said{l.Timestamp, l.StartTimestamp, math.Float64bits(l.Value), formFloat})
		}
		latest = append(latest, e)
		return true
	})
	var labels []byte
	s.intern.reset()
	for _, e := range latest {
		labels = s.head.AppendLabels(labels[:0], e.ref)
		key := remotewrite.KeyOf(labels)
		// Series that were new together came one after the other.
		s.intern.follow(s.intern.add(key, e), key)
	}
}

// restoreWindow fills the repeat window from the log and those before it, of which the
// newest comes last.
func (s *state) restoreWindow(before []*endedLog) error {
	var found []windowEntry
	err := s.writer.Log().EachDigest(seglog.RepeatWindow, windowReasons, func(d [16]byte, v segment.Verdict, sequence uint64) bool {
		found = append(found, windowEntry{d, answer{place{s.id, sequence}, v}})
		return true
	})
	for _, l := range slices.Backward(before) {
		if err != nil || len(found) == seglog.RepeatWindow {
			break
		}
		err = l.log().EachDigest(seglog.RepeatWindow-len(found), 0, func(d [16]byte, v segment.Verdict, sequence uint64) bool {
			found = append(found, windowEntry{d, answer{place{&l.id, sequence}, v}})
			return true
		})
	}
	for i := len(found) - 1; i >= 0; i-- {
		s.window.add(found[i].digest, found[i].answer)
	}
	return err
}

// rotate starts a new segment when one is due, without the series and the metadata that
// have been idle.
func (s *state) rotate(now time.Time, idle time.Duration) error {
	if !s.writer.RotationDue() {
		return nil
	}
	if idle > 0 {
		before := now.Add(-idle).UnixMilli()
		s.head.Expire(before, s.families.keep(before))
	}
	s.pairs.forget(now, s.head)
	if err := s.writer.Rotate(); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	s.segmentTime()
	s.forget()
	return nil
}

// forget forgets what the head has dropped.
func (s *state) forget() {
	s.intern.drop(s.dropped)
	for ref := range s.dropped {
		delete(s.lastExemplars, ref)
	}
	s.dropped = map[uint64]struct{}{} // another one, for a map does not get smaller
	s.families.forget(s.head)
}

// renew closes the log and continues in a new one, which starts with a keyframe of
// the whole state.
func (s *state) renew(store logStore) (*state, error) {
	if err := s.writer.WaitDurable(s.last); err != nil {
		return nil, err
	}
	if err := s.writer.Close(); err != nil {
		return nil, err
	}
	w, err := store.create(s.head)
	if err != nil {
		return nil, err
	}
	s.forget()
	next := *s
	next.before, next.time = s.end(), 0
	next.setWriter(w)
	next.segmentTime()
	return &next, nil
}
