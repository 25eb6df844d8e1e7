package remotewrite

import (
	"errors"
	"fmt"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/snappyblock"
)

// Schema of a body.
type Schema int

const (
	// V1 is prometheus.WriteRequest.
	V1 Schema = 1
	// V2 is io.prometheus.write.v2.Request.
	V2 Schema = 2
)

// ErrTooLarge is wrapped by errors of requests that are over a limit.
var ErrTooLarge = errors.New("request is too large")

// errForeign is most likely a body of the other schema, which would be read as
// an empty one.
var errForeign = errors.New("body holds no field of its schema: is the content type right?")

// Series is a series of a request with the part of the request's columns that
// belongs to it: each End is where its share ends, and it starts where that of
// the series before ended.
type Series struct {
	// Hash of the labels as the sender spelt them, and of the tenant: the first half of
	// their Key, which is enough to confirm a guess at the series, and nothing else.
	Hash uint64
	// labels are fields 1 of prometheus.TimeSeries, of a 1.0 series and of one
	// without labels.
	labels []byte
	// refs are the packed labels_refs of a 2.0 series.
	refs []byte
	// Meta is the index in [Request.Meta] of what the series says about its family,
	// negative when it says nothing.
	Meta                                    int32
	SamplesEnd, HistogramsEnd, ExemplarsEnd uint32
}

// Sample is a float sample. Value is its bit pattern, timestamps are in ms.
type Sample struct {
	Timestamp      int64
	Value          uint64
	StartTimestamp int64
}

// Histogram is a native histogram that has been found valid.
type Histogram struct {
	Timestamp int64
	// Data is the wire form of prometheus.Histogram.
	Data []byte
	// Identity of the histogram.
	Identity Identity
}

// Metadata of a metric family.
type Metadata struct {
	// Hash of the other fields but Family.
	Hash uint64
	Type int32
	// Family is empty in the metadata of a series, which has a name.
	Family, Help, Unit []byte
}

// Request is a decoded request. Its memory is used again by the next Decode,
// so what is to live longer must be copied. It is not safe for concurrent use.
type Request struct {
	Series     []Series
	Samples    []Sample
	Histograms []Histogram
	// Exemplars are in the wire form of prometheus.Exemplar.
	Exemplars [][]byte
	// Meta is what the series say about their families, see Series.Meta.
	Meta []Metadata
	// Families is metadata that came apart from any series.
	Families []Metadata
	// Senders of the series, if they are to be named.
	Senders []Sender
	// Dropped is what Part has dropped.
	Dropped  Counts
	Problems Problems

	limits Limits
	tenant ownership
	// senderLabels name the senders; nil: nobody asks. sender is that of the series at hand, unless
	// sameSender says that it is the last of Senders.
	senderLabels *SenderLabels
	sender       Sender
	sameSender   bool
	// senderSymbols are the names of these labels in a request of 2.0.
	senderSymbols []senderSymbol
	body          []byte // decoded
	scratch       []byte // what had to be rewritten: the last piece of it
	symbols       [][]byte
	hashes        []uint64 // of the symbols
	hashesB       []uint64 // of those that were asked for, 0 of the others
	wire          []byte   // labels, written out
	spent         int      // see Spend
	room          int      // in the block, see Store
	memo          metaMemo
	dictionary    dictionary
	h             histogramScan
	// Errors that very many parts may have, made once.
	manyLabels, longExemplar, manyDistinct error
	families                               int  // metadata entries, those that are wrong, too
	known                                  bool // a field of the schema has been seen
	unknown                                bool // another field has been seen
	memory                                 memory
}

// NewRequest returns an empty request.
func NewRequest(l Limits) *Request {
	r := &Request{
		limits:       l,
		manyLabels:   limit.Over(flagLabels, "it has more than %d labels", l.Labels),
		longExemplar: limit.Over(flagExemplarRunes, "its labels have more than %d characters", l.ExemplarRunes),
		manyDistinct: limit.Over(flagDecodedBytes, "the labels of the request's series take more than %d bytes in memory", mostDictionary(l)),
	}
	r.memory.unbounded()
	return r
}

// DecodedLen returns how large a body claims to be when decoded. The error is
// ErrTooLarge if that is over the limit; otherwise the body is not in snappy's block
// format, or cannot hold what it claims.
func DecodedLen(body []byte, l Limits) (int, error) {
	n, err := snappyblock.Claim(body)
	if err != nil {
		return 0, fmt.Errorf("body is %w", err)
	}
	if n > uint64(l.DecodedBytes) {
		return 0, fmt.Errorf("%w: %w", ErrTooLarge, limit.Over(flagDecodedBytes, "%d bytes when decoded, the limit is %d", n, l.DecodedBytes))
	}
	if !snappyblock.Holds(body, n) {
		return 0, fmt.Errorf("body is %w: it claims more than it can hold", snappyblock.ErrCorrupt)
	}
	return int(n), nil
}

// Decode decodes a body in snappy's block format. The request refers to nothing of it
// afterwards.
func (r *Request) Decode(schema Schema, body []byte) error {
	r.reset()
	n, err := DecodedLen(body, r.limits)
	if err != nil {
		return err
	}
	if !r.spaceForBody(n) {
		return r.memory.err
	}
	decoded, err := snappyblock.Decode(r.body[:cap(r.body)], body)
	if err != nil {
		return fmt.Errorf("body is %w", err)
	}
	r.body = decoded
	histograms := r.h.size()
	if err := r.scan(schema, decoded); err != nil {
		return err
	}
	r.memory.reserve(r.h.size() - histograms)
	if invariant.On {
		r.checkColumns()
	}
	return r.memory.err
}

// checkColumns checks that each series' share of the columns follows that of the one
// before, and that no entry is left over. It allocates nothing if so.
func (r *Request) checkColumns() {
	var end Series
	for i := range r.Series {
		s := &r.Series[i]
		if s.SamplesEnd < end.SamplesEnd || s.HistogramsEnd < end.HistogramsEnd || s.ExemplarsEnd < end.ExemplarsEnd || int(s.Meta) >= len(r.Meta) {
			invariant.Check(false, "series %d of a request has %+v after %+v, of %d metadata", i, *s, end, len(r.Meta))
		}
		end = *s
	}
	if int(end.SamplesEnd) != len(r.Samples) || int(end.HistogramsEnd) != len(r.Histograms) || int(end.ExemplarsEnd) != len(r.Exemplars) {
		invariant.Check(false, "columns of %d, %d and %d entries end with %+v", len(r.Samples), len(r.Histograms), len(r.Exemplars), end)
	}
	if n := len(r.Senders); n > 0 && int(r.Senders[n-1].End) != len(r.Series) {
		invariant.Check(false, "senders of %d series, and there are %d", r.Senders[n-1].End, len(r.Series))
	}
}

func (r *Request) scan(schema Schema, b []byte) error {
	var err error
	switch schema {
	case V1:
		err = r.scanV1(b)
	case V2:
		err = r.scanV2(b)
	default:
		err = fmt.Errorf("schema %d is unknown", schema)
	}
	if err != nil {
		return err
	}
	if r.unknown && !r.known {
		return errForeign
	}
	return r.reserve()
}

func (r *Request) reset() {
	if r.memory.used, r.memory.err = r.Size(), nil; r.memory.used > r.memory.allowed {
		*r = Request{limits: r.limits, tenant: r.tenant, senderLabels: r.senderLabels, manyLabels: r.manyLabels, longExemplar: r.longExemplar, manyDistinct: r.manyDistinct, memory: r.memory}
		r.memory.used = 0
		return
	}
	r.Series, r.Samples, r.Histograms, r.Exemplars = r.Series[:0], r.Samples[:0], r.Histograms[:0], r.Exemplars[:0]
	r.Meta, r.Families = r.Meta[:0], r.Families[:0]
	r.Senders, r.Dropped, r.Problems = r.Senders[:0], Counts{}, Problems{}
	r.scratch, r.symbols, r.hashes, r.hashesB, r.spent = r.scratch[:0], r.symbols[:0], r.hashes[:0], r.hashesB[:0], 0
	r.memo = metaMemo{}
	r.dictionary.reset()
	r.families, r.known, r.unknown = 0, false, false
}

// noMeta is the Meta of a series that says nothing about its family.
const noMeta = -1

// mark is how long the columns of a request are at some point.
type mark struct{ samples, histograms, exemplars int }

func (r *Request) mark() mark {
	return mark{len(r.Samples), len(r.Histograms), len(r.Exemplars)}
}

// since counts what came after a mark.
func (r *Request) since(m mark) int {
	return len(r.Samples) - m.samples + len(r.Histograms) - m.histograms + len(r.Exemplars) - m.exemplars
}

// drop removes what came after a mark.
func (r *Request) drop(m mark) {
	r.Samples, r.Histograms, r.Exemplars = r.Samples[:m.samples], r.Histograms[:m.histograms], r.Exemplars[:m.exemplars]
}

func (r *Request) checkCounts() error {
	// Those that were refused cost work, too.
	if len(r.Samples)+len(r.Histograms)+len(r.Exemplars)+r.Problems.Rejected > r.limits.Samples {
		return r.tooMany()
	}
	return nil
}

func (r *Request) tooMany() error {
	return fmt.Errorf("%w: %w", ErrTooLarge, limit.Over(flagSamples, "more than %d samples, histograms and exemplars", r.limits.Samples))
}

func (r *Request) tooManySeries() error {
	return fmt.Errorf("%w: %w", ErrTooLarge, limit.Over(flagSeries, "more than %d series", r.limits.Series))
}

// add adds a series, whose labels or refs are empty, with the columns as they are. It takes
// the fields one by one, since a copy of what was just written waits for those writes.
func (r *Request) add(hash uint64, labels, refs []byte, meta int32) error {
	if len(r.Series) >= r.limits.Series {
		return r.tooManySeries()
	}
	if full(r.Series) && !grow(&r.memory, &r.Series) {
		return r.memory.err
	}
	r.Series = r.Series[:len(r.Series)+1]
	s := &r.Series[len(r.Series)-1]
	s.Hash, s.labels, s.refs, s.Meta = hash^r.tenant.key.A, labels, refs, meta
	s.SamplesEnd, s.HistogramsEnd, s.ExemplarsEnd = uint32(len(r.Samples)), uint32(len(r.Histograms)), uint32(len(r.Exemplars))
	if r.senderLabels != nil {
		return r.addSender()
	}
	return nil
}
