package remotewrite

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/promgrpc/exporter/internal/protoscan"
	"github.com/promgrpc/exporter/internal/segment"
)

// The fields of a prometheus.Exemplar after its labels.
const (
	fieldExemplarValue     = 2
	fieldExemplarTimestamp = 3
)

// checkExemplars checks the exemplars of a series and puts them into the form in which
// they are kept. One that is wrong is refused by itself.
func (r *Request) checkExemplars(s *Series, start mark, schema Schema) error {
	kept := r.Exemplars[:start.exemplars]
	for _, raw := range r.Exemplars[start.exemplars:] {
		var data []byte
		var err error
		if schema == V1 {
			data, err = r.exemplarV1(raw)
		} else {
			data, err = r.exemplarV2(raw)
		}
		switch {
		case r.memory.err != nil:
			return r.memory.err
		case errors.Is(err, errDamaged), errors.Is(err, ErrTooLarge):
			return err
		case err != nil:
			r.refusePart(1, s, "exemplar: ", err)
			continue
		}
		kept = append(kept, data)
	}
	r.Exemplars = kept
	return nil
}

// exemplarV1 checks a prometheus.Exemplar. In most cases it is kept as it is; otherwise
// it is rewritten, so that equal exemplars have equal bytes.
//
//	message Exemplar {
//	  repeated Label labels = 1;
//	  double value = 2;
//	  int64 timestamp = 3;
//	}
func (r *Request) exemplarV1(b []byte) ([]byte, error) {
	var value, timestamp uint64
	runes := 0
	if !r.space(len(b) + mostOfExemplar) {
		return nil, r.memory.err
	}
	from := len(r.scratch)
	for i := 0; i < len(b); {
		f, ok := protoscan.Read(b, i)
		if !ok {
			return nil, errDamaged
		}
		i = f.Next
		switch {
		case f.Number == 1 && f.Wire == protoscan.TypeBytes:
			name, val, ok := protoscan.Pair(f.Bytes)
			if !ok {
				return nil, errDamaged
			}
			if err := r.exemplarLabel(name, val, &runes); err != nil {
				return nil, err
			}
		case f.Number == fieldExemplarValue && f.Wire == protoscan.TypeFixed64:
			value = f.Value
		case f.Number == fieldExemplarTimestamp && f.Wire == protoscan.TypeVarint:
			timestamp = f.Value
		case f.Number <= fieldExemplarTimestamp:
			return nil, errDamaged
		}
	}
	written := r.finishExemplar(from, value, timestamp)
	if bytes.Equal(b, written) {
		r.scratch = r.scratch[:from]
		return b, nil
	}
	return written, nil
}

// mostOfExemplar is what a value and a timestamp take at most.
const mostOfExemplar = 9 + 11

// exemplarV2 writes an io.prometheus.write.v2.Exemplar as one of 1.0:
//
//	message Exemplar {
//	  repeated uint32 labels_refs = 1;
//	  double value = 2;
//	  int64 timestamp = 3;
//	}
func (r *Request) exemplarV2(b []byte) ([]byte, error) {
	var value, timestamp uint64
	var refs gatherRefs
	for i := 0; i < len(b); {
		f, ok := protoscan.Read(b, i)
		if !ok {
			return nil, errDamaged
		}
		i = f.Next
		switch {
		case f.Number == 1:
			if !refs.add(r, &f, len(b)) {
				return nil, r.damaged()
			}
		case f.Number == fieldExemplarValue && f.Wire == protoscan.TypeFixed64:
			value = f.Value
		case f.Number == fieldExemplarTimestamp && f.Wire == protoscan.TypeVarint:
			timestamp = f.Value
		case f.Number <= fieldExemplarTimestamp:
			return nil, errDamaged
		}
	}
	if _, err := r.hashRefs(refs.refs); err != nil {
		return nil, err
	}
	// A character has four bytes at most, and a label up to sixteen besides its text.
	if !r.space(min((utf8.UTFMax+16)*r.limits.ExemplarRunes, r.limits.DecodedBytes) + mostOfExemplar) {
		return nil, r.memory.err
	}
	from, runes := len(r.scratch), 0
	var err error
	r.eachPair(refs.refs, func(name, val []byte) bool {
		err = r.exemplarLabel(name, val, &runes)
		return err == nil
	})
	// Those that are refused count, too: they cost as much work.
	if tooMuch := r.Spend(len(r.scratch) - from); tooMuch != nil {
		return nil, fmt.Errorf("%w: %w", ErrTooLarge, tooMuch)
	}
	if err != nil {
		r.scratch = r.scratch[:from]
		return nil, err
	}
	return r.finishExemplar(from, value, timestamp), nil
}

// finishExemplar appends value and timestamp, which are left out when they are zero.
func (r *Request) finishExemplar(from int, value, timestamp uint64) []byte {
	if value != 0 {
		r.scratch = appendFixed64(r.scratch, fieldExemplarValue, value)
	}
	if timestamp != 0 {
		r.scratch = appendVarint(r.scratch, fieldExemplarTimestamp, timestamp)
	}
	return r.scratch[from:len(r.scratch):len(r.scratch)]
}

// exemplarLabel checks and appends a label; like those of series, one without a value
// is left out. It counts the characters, of which all labels of an exemplar together
// have a limit.
func (r *Request) exemplarLabel(name, value []byte, runes *int) error {
	if size := len(name) + len(value); size <= utf8.UTFMax*r.limits.ExemplarRunes {
		*runes += utf8.RuneCount(name) + utf8.RuneCount(value)
	} else {
		*runes = size // far too many, by a look at the length
	}
	switch {
	case len(name) == 0:
		return errEmptyName
	case *runes > r.limits.ExemplarRunes:
		return r.longExemplar
	case !utf8.Valid(name):
		return reasonf("label name %q is not valid UTF-8", cut(name))
	case !utf8.Valid(value):
		return reasonf("value of label %q is not valid UTF-8", cut(name))
	}
	if len(value) > 0 {
		r.scratch = segment.AppendLabel(r.scratch, name, value)
	}
	return nil
}
