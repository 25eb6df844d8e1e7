package remotewrite

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/protoscan"
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
	// names of the replica's labels, and then of the cluster's.
	names  []string
	hashes []uint64 // of them
	// firsts has, for each length of a short name, a bit for the first byte.
	firsts [shortLabel]uint64
}

// NewSenderLabels returns the labels that have these names. Of several for the replica the
// first that a series has counts.
func NewSenderLabels(cluster string, replicas ...string) *SenderLabels {
	l := &SenderLabels{names: append(slices.Clone(replicas), cluster)}
	for _, name := range l.names {
		l.hashes = append(l.hashes, hashA([]byte(name)))
		if name != "" && len(name) < shortLabel {
			l.firsts[len(name)] |= firstBit(name[0])
		}
	}
	return l
}

func firstBit(first byte) uint64 { return 1 << (first & 63) }

// cluster is the index of the cluster's label.
func (l *SenderLabels) cluster() int { return len(l.names) - 1 }

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

func (s *Sender) is(cluster, replica []byte) bool {
	return string(s.Cluster) == string(cluster) && string(s.Replica) == string(replica)
}

// NameSenders has the next requests say who sent their series; nil: they do not.
func (r *Request) NameSenders(l *SenderLabels) { r.senderLabels = l }

// pairFinder finds the labels of one series that name its sender.
type pairFinder struct {
	cluster, replica       []byte
	hasCluster, hasReplica bool
	from, to               int // of the replica's label
	which                  int // index of that in SenderLabels.names
	twice                  bool
}

// add is given a label by the index of its name, and the bytes at which it lies.
func (f *pairFinder) add(which, cluster int, value []byte, from, to int) {
	switch {
	case which == cluster:
		f.twice = f.twice || f.hasCluster
		f.cluster, f.hasCluster = value, true
	case !f.hasReplica || which < f.which:
		f.replica, f.which, f.from, f.to, f.hasReplica = value, which, from, to, true
	default:
		f.twice = f.twice || which == f.which
	}
}

// found says whether both are there. A label that is there twice is left alone: the series
// will be refused.
func (f *pairFinder) found() bool { return len(f.cluster) > 0 && len(f.replica) > 0 && !f.twice }

// fromWire notes who sent a 1.0 series, and returns its labels without the replica.
func (r *Request) fromWire(labels []byte) []byte {
	r.sender, r.sameSender = Sender{}, false
	var f pairFinder
	l := r.senderLabels
	for i := l.skipOthers(labels, 0); i < len(labels); i = l.skipOthers(labels, i) {
		at, end := protoscan.Short(labels, i, 0x0a)
		if end == 0 {
			field, ok := protoscan.Read(labels, i)
			if !ok || field.Number != fieldLabels || field.Wire != protoscan.TypeBytes {
				return labels
			}
			at, end = field.Next-len(field.Bytes), field.Next
		}
		name, value, ok := protoscan.Pair(labels[at:end:end])
		if !ok {
			return labels
		}
		for which, of := range l.names {
			if string(name) == of {
				f.add(which, l.cluster(), value, i, end)
			}
		}
		i = end
	}
	return r.take(&f, labels)
}

// shortLabel is the length that a label has to be below so that one byte has it.
const shortLabel = 0x80

// skipOthers returns where the first label from i on is that may be one of these. What it
// passes has another name, as most have, and is as encoders write it: short, and with the
// name first: then the first five bytes tell.
func (l *SenderLabels) skipOthers(labels []byte, i int) int {
	for i+4 < len(labels) {
		head := binary.LittleEndian.Uint32(labels[i:])
		if head&0x80ff80ff != 0x000a000a || l.firsts[head>>24&(shortLabel-1)]&firstBit(labels[i+4]) != 0 {
			return i
		}
		i += 2 + int(head>>8&(shortLabel-1))
	}
	return i
}

// findSenderSymbols finds the symbols that are names of the labels, each of which may be
// there several times.
func (r *Request) findSenderSymbols() {
	l := r.senderLabels
	r.senderSymbols = r.senderSymbols[:0]
	for i, hash := range r.hashes {
		for which, of := range l.hashes {
			if hash == of && string(r.symbols[i]) == l.names[which] {
				r.senderSymbols = append(r.senderSymbols, senderSymbol{uint32(i), which})
			}
		}
		if len(r.senderSymbols) > mostSenderSymbols {
			r.senderSymbols = r.senderSymbols[:0] // Nobody writes that.
			return
		}
	}
}

// senderSymbol is a symbol that is the name of a label.
type senderSymbol struct {
	ref   uint32
	which int // index in SenderLabels.names
}

// mostSenderSymbols is how many each reference is compared with at most.
const mostSenderSymbols = 16

// fromRefs is fromWire for the references of a 2.0 series.
func (r *Request) fromRefs(refs []byte) []byte {
	r.sender, r.sameSender = Sender{}, false
	if len(r.senderSymbols) == 0 {
		return refs
	}
	var f pairFinder
	for i := 0; i < len(refs); {
		from := i
		name, next := protoscan.Varint(refs, i)
		if next == 0 {
			return refs
		}
		for i = next; i < len(refs) && refs[i] >= 0x80; i++ {
		}
		if i++; i > len(refs) {
			return refs
		}
		for _, s := range r.senderSymbols {
			if s.ref != uint32(name) {
				continue
			}
			value, end := protoscan.Varint(refs, next)
			if end != i || uint64(uint32(value)) >= uint64(len(r.symbols)) {
				return refs
			}
			f.add(s.which, r.senderLabels.cluster(), r.symbols[uint32(value)], from, end)
		}
	}
	return r.take(&f, refs)
}

// take notes the sender that was found in labels or references, and takes the replica out
// of them.
func (r *Request) take(f *pairFinder, b []byte) []byte {
	if !f.found() {
		return b
	}
	if n := len(r.Senders); n > 0 && r.Senders[n-1].is(f.cluster, f.replica) {
		r.sameSender = true
	} else {
		r.sender.Cluster, r.sender.Replica = f.cluster, f.replica
		if !r.keepSender() {
			return b // Decode fails.
		}
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
	n := len(r.Senders)
	if r.sameSender || n > 0 && r.sender.None() && r.Senders[n-1].None() {
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
