package query

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/promgrpc/exporter/internal/h2frames"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/promql"
)

// Field numbers of the messages that are assembled here.
const (
	fieldTimeSeries  = 1
	fieldCursor      = 2
	fieldEvaluated   = 3
	fieldAnnotations = 4
	fieldLate        = 5
	fieldSynced      = 6
	fieldHeartbeat   = 7
	fieldEnd         = 8
	fieldForget      = 9
	fieldAway        = 10

	fieldLabels     = 1
	fieldHistograms = 4
	fieldRef        = 17
)

// responseSize is at which a response is sent. With its last part, and what ends it, it
// is about one large frame.
const responseSize = h2frames.Large - 1<<10

// encoder assembles responses as envelopes.
type encoder struct {
	done   [][]byte
	wire   []byte
	series []byte // the content of the one that is being assembled
}

func newEncoder(forget bool) *encoder {
	e := &encoder{wire: make([]byte, call.PrefixSize)}
	if forget {
		e.wire = protowire.AppendTag(e.wire, fieldForget, protowire.VarintType)
		e.wire = protowire.AppendVarint(e.wire, 1)
	}
	return e
}

// open starts a series, by its labels unless they are nil, and a reference unless it is 0.
func (e *encoder) open(ls *labels.Labels, ref uint64) {
	e.series = e.series[:0]
	if ls != nil {
		e.series = appendLabels(e.series, *ls)
	}
	if ref != 0 {
		e.series = protowire.AppendTag(e.series, fieldRef, protowire.VarintType)
		e.series = protowire.AppendVarint(e.series, ref)
	}
}

// openKnown starts a series by its reference, if the client knows that, and by its labels
// otherwise, which may define it.
func (e *encoder) openKnown(ls *labels.Labels, reference uint64, known, define bool) {
	switch {
	case known:
		e.open(nil, reference)
	case define:
		e.open(ls, reference)
	default:
		e.open(ls, 0)
	}
}

func appendLabels(wire []byte, ls labels.Labels) []byte {
	ls.Range(func(l labels.Label) {
		wire = protowire.AppendTag(wire, fieldLabels, protowire.BytesType)
		wire = protowire.AppendVarint(wire, uint64(2+protowire.SizeBytes(len(l.Name))+protowire.SizeBytes(len(l.Value))))
		wire = protowire.AppendString(protowire.AppendTag(wire, 1, protowire.BytesType), l.Name)
		wire = protowire.AppendString(protowire.AppendTag(wire, 2, protowire.BytesType), l.Value)
	})
	return wire
}

// point adds a value to the series.
func (e *encoder) point(ms int64, s *sample) {
	if s.histogram == nil {
		e.series = call.AppendFloat(e.series, ms, 0, s.float)
		return
	}
	content, _ := proto.Marshal(promql.HistogramMessage(ms, s.histogram)) // has no strings
	e.series = protowire.AppendTag(e.series, fieldHistograms, protowire.BytesType)
	e.series = protowire.AppendBytes(e.series, content)
}

// gone adds a stale marker to the series.
func (e *encoder) gone(ms int64) { e.point(ms, &sample{float: staleMarker}) }

// full says that the series has to be closed before it gets more.
func (e *encoder) full() bool { return len(e.wire)+len(e.series) >= responseSize }

// close puts the series into the response, or into the next if it has no room.
func (e *encoder) close() {
	if len(e.wire) > call.PrefixSize && e.full() {
		e.cut()
	}
	e.wire = protowire.AppendTag(e.wire, fieldTimeSeries, protowire.BytesType)
	e.wire = protowire.AppendBytes(e.wire, e.series)
}

// cut ends a response within a step.
func (e *encoder) cut() {
	e.done = append(e.done, call.Complete(e.wire))
	e.wire = make([]byte, call.PrefixSize, responseSize)
}

// empty says that nothing was assembled.
func (e *encoder) empty() bool { return len(e.done) == 0 && len(e.wire) == call.PrefixSize }

// notes adds what is said of steps.
func (e *encoder) notes(n notes) {
	for _, a := range n.annotations {
		content, _ := proto.Marshal(a) // fails only for a text that is not UTF-8
		e.wire = protowire.AppendTag(e.wire, fieldAnnotations, protowire.BytesType)
		e.wire = protowire.AppendBytes(e.wire, content)
	}
	if n.late > 0 {
		e.wire = protowire.AppendTag(e.wire, fieldLate, protowire.VarintType)
		e.wire = protowire.AppendVarint(e.wire, n.late)
	}
}

// upTo ends the last response with what the stream has come to.
func (e *encoder) upTo(cursor string, ms int64) [][]byte {
	e.wire = appendPosition(e.wire, cursor, ms)
	return append(e.done, call.Complete(e.wire))
}

func appendPosition(wire []byte, cursor string, ms int64) []byte {
	wire = protowire.AppendTag(wire, fieldCursor, protowire.BytesType)
	wire = protowire.AppendString(wire, cursor)
	at, _ := proto.Marshal(timestampOf(ms)) // has no strings
	wire = protowire.AppendTag(wire, fieldEvaluated, protowire.BytesType)
	return protowire.AppendBytes(wire, at)
}

// eventOf is a response with an event alone.
func eventOf(field protowire.Number, content []byte, cursor string, ms int64) []byte {
	wire := make([]byte, call.PrefixSize)
	if cursor != "" {
		wire = appendPosition(wire, cursor, ms)
	}
	wire = protowire.AppendTag(wire, field, protowire.BytesType)
	return call.Complete(protowire.AppendBytes(wire, content))
}

func timestampOf(ms int64) *timestamppb.Timestamp {
	seconds := ms / 1000
	if ms%1000 < 0 {
		seconds--
	}
	return &timestamppb.Timestamp{Seconds: seconds, Nanos: int32(ms-seconds*1000) * 1e6}
}

// batch encodes steps, of which the first follows before; nil: none was before. Of each
// series come all steps of the batch together, with its labels.
func batch(before *step, all []step, onChange bool, cursor string) [][]byte {
	e := newEncoder(false)
	for _, of := range seriesOf(before, all, onChange) {
		ls := of.labels
		e.open(&ls, 0)
		for i, p := range of.points {
			if i > 0 && e.full() {
				e.close()
				e.cut()
				e.open(&ls, 0)
			}
			if p.value == nil {
				e.gone(p.ms)
			} else {
				e.point(p.ms, p.value)
			}
		}
		e.close()
	}
	last := &all[len(all)-1]
	if onChange && before != nil && e.empty() && last.late == 0 {
		return nil
	}
	e.notes(last.notes)
	return e.upTo(cursor, last.time)
}

// point is a value of a series; nil: it is gone.
type point struct {
	ms    int64
	value *sample
}

type points struct {
	labels labels.Labels
	points []point
}

// seriesOf turns steps into series, sorted by labels.
func seriesOf(before *step, all []step, onChange bool) []*points {
	found := map[string]*points{}
	var key []byte
	add := func(ms int64, ls labels.Labels, value *sample) {
		key = ls.Bytes(key[:0])
		of := found[string(key)]
		if of == nil {
			of = &points{labels: ls}
			found[string(key)] = of
		}
		of.points = append(of.points, point{ms, value})
	}
	for i := range all {
		for c := range changes(before, &all[i]) {
			switch {
			case c.now == nil:
				add(all[i].time, c.before.labels, nil)
			case !onChange || c.before == nil || !c.before.same(c.now):
				add(all[i].time, c.now.labels, c.now)
			}
		}
		before = &all[i]
	}
	sorted := make([]*points, 0, len(found))
	for _, of := range found {
		sorted = append(sorted, of)
	}
	slices.SortFunc(sorted, func(a, b *points) int { return labels.Compare(a.labels, b.labels) })
	return sorted
}
