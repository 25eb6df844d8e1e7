package remotewrite

import (
	"errors"
	"fmt"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/protoscan"
)

// scanV2 scans an io.prometheus.write.v2.Request:
//
//	message Request {
//	  repeated string symbols = 4;
//	  repeated TimeSeries timeseries = 5;
//	}
//
// The symbols may come after the series that refer to them, so they are collected
// first.
func (r *Request) scanV2(b []byte) error {
	for i := 0; i < len(b); {
		if _, end := protoscan.Short(b, i, 0x2a); end > 0 {
			i, r.known = end, true
			continue
		}
		f, ok := protoscan.Read(b, i)
		if !ok {
			return errDamaged
		}
		i = f.Next
		switch {
		case f.Number == 4 && f.Wire == protoscan.TypeBytes:
			if len(r.symbols) == r.limits.Symbols {
				return fmt.Errorf("%w: %w", ErrTooLarge, limit.Over(flagSymbols, "more than %d symbols", r.limits.Symbols))
			}
			if full(r.symbols) && !grow(&r.memory, &r.symbols) {
				return r.memory.err
			}
			r.symbols = append(r.symbols, f.Bytes)
		case f.Number == 5 && f.Wire == protoscan.TypeBytes:
		case f.Number == 4 || f.Number == 5:
			return errDamaged
		default:
			r.unknown = true
			continue
		}
		r.known = true
	}
	if len(r.symbols) > 0 && len(r.symbols[0]) > 0 {
		return fmt.Errorf("symbols[0] is %q, it has to be empty", cut(r.symbols[0]))
	}
	if !r.spaceForHashes() {
		return r.memory.err
	}
	for _, symbol := range r.symbols {
		r.hashes = append(r.hashes, hashA(symbol))
	}
	if r.senderLabels != nil {
		r.findSenderSymbols()
	}
	number := 0
	for i := 0; i < len(b); {
		at, end := protoscan.Short(b, i, 0x2a)
		if end == 0 {
			f, _ := protoscan.Read(b, i)
			i = f.Next
			if f.Number != 5 {
				continue
			}
			at, end = f.Next-len(f.Bytes), f.Next
		}
		if number == r.limits.Series {
			return r.tooManySeries()
		}
		if err := r.seriesV2(b[at:end:end], number); err != nil {
			return err
		}
		i = end
		number++
	}
	return nil
}

// metaRefs is a Metadata of a 2.0 series:
//
//	message Metadata {
//	  MetricType type = 1;
//	  uint32 help_ref = 3;
//	  uint32 unit_ref = 4;
//	}
type metaRefs struct {
	kind       int32
	help, unit uint32
}

// metaMemo remembers the indexes in Meta of some metadata, by the reference of its
// help text: as a rule many series of a request share it. Where nothing is remembered
// the references are zero, and no series with metadata has those.
type metaMemo [64]struct {
	refs  metaRefs
	index int32
}

// seriesV2 scans an io.prometheus.write.v2.TimeSeries:
//
//	message TimeSeries {
//	  repeated uint32 labels_refs = 1;
//	  repeated Sample samples = 2;
//	  repeated Histogram histograms = 3;
//	  repeated Exemplar exemplars = 4;
//	  Metadata metadata = 5;
//	  int64 created_timestamp = 6; // until rc.3, when samples had none
//	}
func (r *Request) seriesV2(b []byte, number int) error {
	start := r.mark()
	var refs gatherRefs
	var meta metaRefs
	var created int64
	i := 0
	// As a rule there is little but this, and none of it of 128 bytes or more.
short:
	for i+1 < len(b) && b[i+1] < 0x80 {
		at, end := i+2, i+2+int(b[i+1])
		if end > len(b) {
			return errDamaged
		}
		ok := true
		switch {
		case b[i] == 0x0a && refs.refs == nil:
			refs.refs = b[at:end:end]
		case b[i] == 0x12:
			ok = r.sample(b[at:end], true)
		case b[i] == 0x2a:
			ok = meta.scan(b[at:end])
		default:
			break short
		}
		if !ok {
			return r.damaged()
		}
		i = end
	}
	for i < len(b) {
		f, ok := protoscan.Read(b, i)
		if !ok {
			return errDamaged
		}
		i = f.Next
		switch {
		case f.Number == 1:
			ok = refs.add(r, &f, len(b))
		case f.Number == 2 && f.Wire == protoscan.TypeBytes:
			ok = r.sample(f.Bytes, true)
		case f.Number == 3 && f.Wire == protoscan.TypeBytes:
			if full(r.Histograms) && !grow(&r.memory, &r.Histograms) {
				return r.memory.err
			}
			r.Histograms = append(r.Histograms, Histogram{Data: f.Bytes})
		case f.Number == 4 && f.Wire == protoscan.TypeBytes:
			if full(r.Exemplars) && !grow(&r.memory, &r.Exemplars) {
				return r.memory.err
			}
			r.Exemplars = append(r.Exemplars, f.Bytes)
		case f.Number == 5 && f.Wire == protoscan.TypeBytes:
			ok = meta.scan(f.Bytes)
		case f.Number == 6 && f.Wire == protoscan.TypeVarint:
			created = int64(f.Value)
		case f.Number <= 5:
			return errDamaged
		}
		if !ok {
			return r.damaged()
		}
		if err := r.checkCounts(); err != nil {
			return err
		}
	}
	if err := r.checkCounts(); err != nil {
		return err
	}
	return r.finishV2(start, number, refs.refs, meta, created)
}

// finishV2 checks a series whose fields have been collected, and adds it.
func (r *Request) finishV2(start mark, number int, refs []byte, meta metaRefs, created int64) error {
	if r.senderLabels != nil {
		refs = r.fromRefs(refs)
	}
	hash, err := r.hashRefs(refs)
	if errors.Is(err, errDamaged) {
		return err
	}
	if err == nil {
		err = r.checkMeta(meta)
	}
	if err != nil {
		n := r.since(start)
		r.drop(start)
		r.Problems.note(n, err, func() string { return fmt.Sprintf("series number %d of the request: %v", number, err) })
		return nil //nolint:nilerr // noted, and the neighbours go on
	}
	s := Series{Hash: hash, refs: refs}
	// Exemplars alone are against the specification, but it is how Prometheus
	// sends them: each in a series of its own.
	if r.since(start) == 0 {
		r.Refuse(0, &s, errors.New("it has neither samples nor histograms"))
		return nil
	}
	for i := start.samples; i < len(r.Samples); i++ {
		s := &r.Samples[i]
		if s.StartTimestamp == 0 {
			s.StartTimestamp = created
		}
	}
	if len(r.Histograms)+len(r.Exemplars) > start.histograms+start.exemplars {
		if err := r.checkHistograms(&s, start, created); err != nil {
			return err
		}
		if err := r.checkExemplars(&s, start, V2); err != nil {
			return err
		}
		if r.since(start) == 0 {
			return nil
		}
	}
	return r.add(hash, nil, refs, r.metaIndex(&s, meta))
}

func (m *metaRefs) scan(b []byte) bool {
	for i := 0; i < len(b); {
		f := protoscan.Field{Number: int32(b[i] >> 3)}
		switch b[i] {
		case 0x08, 0x18, 0x20:
			f.Value, f.Next = protoscan.Varint(b, i+1)
		default:
			f, _ = protoscan.Read(b, i)
		}
		if f.Next == 0 {
			return false
		}
		i = f.Next
		switch f.Number {
		case 1:
			m.kind = int32(f.Value)
		case 3:
			m.help = uint32(f.Value)
		case 4:
			m.unit = uint32(f.Value)
		default:
			continue
		}
		if f.Wire != protoscan.TypeVarint {
			return false
		}
	}
	return true
}

func (r *Request) checkMeta(m metaRefs) error {
	for _, ref := range [...]uint32{m.help, m.unit} {
		if ref != 0 && int(ref) >= len(r.symbols) {
			return reasonf("metadata points at symbol %d, there are %d", ref, len(r.symbols))
		}
	}
	return nil
}

// metaIndex returns the index of the metadata in Meta, noMeta when it says nothing
// that may be stored.
func (r *Request) metaIndex(s *Series, m metaRefs) int32 {
	if m == (metaRefs{}) {
		return noMeta
	}
	memo := &r.memo[m.help%uint32(len(r.memo))]
	if memo.refs != m {
		meta := Metadata{Type: m.kind, Help: r.symbols[m.help], Unit: r.symbols[m.unit]}
		if err := r.fit(&meta); err != nil {
			r.RefuseMetadata(r.MetricName(s), err)
			return noMeta
		}
		help := r.hashes[m.help]
		if len(meta.Help) < len(r.symbols[m.help]) {
			help = hashA(meta.Help)
		}
		meta.Hash = MetadataHash(meta.Type, help, r.hashes[m.unit])
		if full(r.Meta) && !grow(&r.memory, &r.Meta) {
			return noMeta // Decode fails.
		}
		memo.refs, memo.index = m, int32(len(r.Meta))
		r.Meta = append(r.Meta, meta)
	}
	return memo.index
}
