package remotewrite

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// The senders of an HA pair send the same series, but for a label of each that says which
// of them it is. That label, the replica, is taken away while a request is scanned, before
// the series get their hashes: so the series of both are the same, and cost the same as
// others. It is moved out where it lies, in memory that is the request's own:
//
//	labels   __name__=up  __replica__=a  cluster=c  job=j
//	becomes                 __name__=up  cluster=c  job=j
//
// Who sent which series is kept as runs of them: as a rule a request has one.

// SenderLabels say which labels name the sender of a series. It is not changed once made.
type SenderLabels struct {
	cluster  senderLabel
	replicas []senderLabel
}

type senderLabel struct {
	name string
	hash uint64
}

// NewSenderLabels returns the labels that have these names. Of several for the replica the
// first that a series has counts.
func NewSenderLabels(cluster string, replicas ...string) *SenderLabels {
	label := func(name string) senderLabel { return senderLabel{name, hashA([]byte(name))} }
	l := &SenderLabels{cluster: label(cluster)}
	for _, name := range replicas {
		l.replicas = append(l.replicas, label(name))
	}
	return l
}

// Sender of some series that follow one another.
type Sender struct {
	// Cluster and Replica are empty where the series do not have both, and are taken as
	// they are.
	Cluster, Replica []byte
	// Err says why nobody can be elected by these labels.
	Err error
	// End of the series in [Request.Series]. They begin where those before end.
	End uint32
}

// None says that the series have no sender among several.
func (s *Sender) None() bool { return len(s.Cluster) == 0 }

func (s *Sender) same(o *Sender) bool {
	return string(s.Cluster) == string(o.Cluster) && string(s.Replica) == string(o.Replica)
}

// NameSenders has the next requests say who sent their series; nil: they do not.
func (r *Request) NameSenders(l *SenderLabels) { r.senderLabels = l }

// pairFinder finds the labels of one series that name its sender.
type pairFinder struct {
	cluster, replica       []byte
	hasCluster, hasReplica bool
	from, to               int // of the replica's label
	which                  int // index of that in SenderLabels.replicas
	twice                  bool
}

// add is given a label that lies at some bytes, which is that of the cluster or, from 0 on,
// a replica's.
func (f *pairFinder) add(which int, value []byte, from, to int) {
	switch {
	case which == isCluster:
		f.twice = f.twice || f.hasCluster
		f.cluster, f.hasCluster = value, true
	case !f.hasReplica || which < f.which:
		f.replica, f.which, f.from, f.to, f.hasReplica = value, which, from, to, true
	default:
		f.twice = f.twice || which == f.which
	}
}

// isCluster stands for the label of the cluster.
const isCluster = -1

// found says whether both are there. A label that is there twice is left alone: the series
// will be refused.
func (f *pairFinder) found() bool { return len(f.cluster) > 0 && len(f.replica) > 0 && !f.twice }

// fromWire notes who sent a 1.0 series, and returns its labels without the replica.
func (r *Request) fromWire(labels []byte) []byte {
	r.sender = Sender{}
	var f pairFinder
	for i := 0; i < len(labels); {
		at, end := shortField(labels, i, 0x0a)
		if end == 0 {
			field, ok := readField(labels, i)
			if !ok || field.number != fieldLabels || field.wire != typeBytes {
				return labels
			}
			at, end = field.next-len(field.bytes), field.next
		}
		name, value, ok := pairOf(labels[at:end:end])
		if !ok {
			return labels
		}
		if which, is := r.senderLabels.byName(name); is {
			f.add(which, value, i, end)
		}
		i = end
	}
	return r.take(&f, labels)
}

// pairOf is labelParts, for a label as encoders write it.
func pairOf(b []byte) (name, value []byte, ok bool) {
	if at, end := shortField(b, 0, 0x0a); end > 0 {
		if from, to := shortField(b, end, 0x12); to == len(b) {
			return b[at:end], b[from:to], true
		}
	}
	return labelParts(b)
}

func (l *SenderLabels) byName(name []byte) (which int, is bool) {
	if string(name) == l.cluster.name {
		return isCluster, true
	}
	for i := range l.replicas {
		if string(name) == l.replicas[i].name {
			return i, true
		}
	}
	return 0, false
}

// fromRefs is fromWire for the references of a 2.0 series.
func (r *Request) fromRefs(refs []byte) []byte {
	r.sender = Sender{}
	var f pairFinder
	for i := 0; i < len(refs); {
		from := i
		name, next := varint(refs, i)
		if next == 0 || uint64(uint32(name)) >= uint64(len(r.symbols)) {
			return refs
		}
		value, end := varint(refs, next)
		if end == 0 || uint64(uint32(value)) >= uint64(len(r.symbols)) {
			return refs
		}
		if which, is := r.senderLabels.bySymbol(r.hashes[uint32(name)], r.symbols[uint32(name)]); is {
			f.add(which, r.symbols[uint32(value)], from, end)
		}
		i = end
	}
	return r.take(&f, refs)
}

func (l *SenderLabels) bySymbol(hash uint64, name []byte) (which int, is bool) {
	if hash == l.cluster.hash {
		return isCluster, string(name) == l.cluster.name
	}
	for i := range l.replicas {
		if hash == l.replicas[i].hash {
			return i, string(name) == l.replicas[i].name
		}
	}
	return 0, false
}

// take notes the sender that was found in labels or references, and takes the replica out
// of them.
func (r *Request) take(f *pairFinder, b []byte) []byte {
	if !f.found() {
		return b
	}
	r.sender = Sender{Cluster: f.cluster, Replica: f.replica}
	if n := len(r.Senders); n > 0 && r.sender.same(&r.Senders[n-1]) {
		r.sender = r.Senders[n-1]
	} else if !r.keepSender() {
		return b // Decode fails.
	}
	copy(b[f.to-f.from:f.to], b[:f.from])
	return b[f.to-f.from:]
}

// keepSender copies the sender at hand, since what lies before the replica is moved over
// it, and says whether there is memory for that.
func (r *Request) keepSender() bool {
	s := &r.sender
	for _, value := range [...][]byte{s.Cluster, s.Replica} {
		switch {
		case len(value) > segment.MaxElectionText:
			s.Err = fmt.Errorf("its labels of cluster and replica may have %d bytes each, and one has %d", segment.MaxElectionText, len(value))
		case !utf8.Valid(value):
			s.Err = reasonf("one of its labels of cluster and replica is not valid UTF-8")
		}
	}
	if !r.space(len(s.Cluster) + len(s.Replica)) {
		return false
	}
	for _, value := range [...]*[]byte{&s.Cluster, &s.Replica} {
		from := len(r.scratch)
		r.scratch = append(r.scratch, *value...)
		*value = r.scratch[from:len(r.scratch):len(r.scratch)]
	}
	return true
}

// addSender makes the sender at hand that of the series that was added last.
func (r *Request) addSender() error {
	end := uint32(len(r.Series))
	if n := len(r.Senders); n > 0 && r.sender.same(&r.Senders[n-1]) {
		r.Senders[n-1].End = end
		return nil
	}
	if full(r.Senders) && !grow(&r.memory, &r.Senders) {
		return r.memory.err
	}
	r.sender.End = end
	r.Senders = append(r.Senders, r.sender)
	return nil
}

// Counts of what a request has.
type Counts struct{ Samples, Histograms, Exemplars int }

// Fate of what a sender sent.
type Fate struct {
	// Drop the series, which are counted in [Request.Dropped].
	Drop bool
	// Err refuses them.
	Err error
}

// Part drops and refuses series by their senders, of which fates has that of each in
// [Request.Senders].
func (r *Request) Part(fates []Fate) {
	if !slices.ContainsFunc(fates, func(f Fate) bool { return f.Drop || f.Err != nil }) {
		return
	}
	series, samples, histograms, exemplars := r.Series[:0], r.Samples[:0], r.Histograms[:0], r.Exemplars[:0]
	var from Series
	sender := 0
	for i, s := range r.Series {
		for uint32(i) >= r.Senders[sender].End {
			sender++
		}
		end := s // before the ends are moved
		switch fate := fates[sender]; {
		case fate.Err != nil:
			r.Refuse(int(end.SamplesEnd-from.SamplesEnd+end.HistogramsEnd-from.HistogramsEnd+end.ExemplarsEnd-from.ExemplarsEnd), &s, fate.Err)
		case fate.Drop:
			r.Dropped.Samples += int(end.SamplesEnd - from.SamplesEnd)
			r.Dropped.Histograms += int(end.HistogramsEnd - from.HistogramsEnd)
			r.Dropped.Exemplars += int(end.ExemplarsEnd - from.ExemplarsEnd)
		default:
			samples = append(samples, r.Samples[from.SamplesEnd:end.SamplesEnd]...)
			histograms = append(histograms, r.Histograms[from.HistogramsEnd:end.HistogramsEnd]...)
			exemplars = append(exemplars, r.Exemplars[from.ExemplarsEnd:end.ExemplarsEnd]...)
			s.SamplesEnd, s.HistogramsEnd, s.ExemplarsEnd = uint32(len(samples)), uint32(len(histograms)), uint32(len(exemplars))
			series = append(series, s)
		}
		from = end
	}
	r.Series, r.Samples, r.Histograms, r.Exemplars = series, samples, histograms, exemplars
	r.Senders = r.Senders[:0]
	if invariant.On {
		r.checkColumns()
	}
}
