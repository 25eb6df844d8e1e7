package split

import "github.com/promgrpc/exporter/internal/protoscan"

// scanV1 finds the series of a prometheus.WriteRequest, and their groups:
//
//	message WriteRequest {
//	  repeated TimeSeries timeseries = 1;
//	  repeated MetricMetadata metadata = 3;
//	}
func (s *splitter) scanV1() error {
	b := s.decoded.Bytes
	for i := 0; i < len(b); {
		start := i
		at, end := protoscan.Short(b, i, 0x0a)
		if end == 0 {
			f, ok := protoscan.Read(b, i)
			if !ok || (f.Number == 1 || f.Number == 3) && f.Wire != protoscan.TypeBytes {
				return ErrDamaged
			}
			i = f.Next
			if f.Number == 3 {
				if err := push(s, &s.families, span{uint32(start), uint32(i)}); err != nil {
					return err
				}
			}
			if f.Number != 1 {
				continue
			}
			at, end = f.Next-len(f.Bytes), f.Next
		}
		series := b[at:end:end]
		if !s.labelsV1(series) {
			return ErrDamaged
		}
		if err := s.place(s.key(), span{uint32(start), uint32(end)}, series, &fieldsV1); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// labelsV1 finds the values of the labels that decide in a prometheus.TimeSeries:
//
//	message TimeSeries {
//	  repeated Label labels = 1;
//	  repeated Sample samples = 2;
//	  repeated Exemplar exemplars = 3;
//	  repeated Histogram histograms = 4;
//	}
func (s *splitter) labelsV1(b []byte) bool {
	clear(s.values)
	for i := 0; i < len(b); {
		if i = s.skipLabels(b, i); i == len(b) {
			break
		}
		at, end := protoscan.Short(b, i, 0x0a)
		if end == 0 {
			if _, end = protoscan.Short(b, i, 0x12); end > 0 { // A sample, as a rule.
				i = end
				continue
			}
			f, ok := protoscan.Read(b, i)
			if !ok || f.Number <= 4 && f.Wire != protoscan.TypeBytes {
				return false
			}
			i = f.Next
			if f.Number != 1 {
				continue
			}
			at, end = f.Next-len(f.Bytes), f.Next
		}
		i = end
		if len(s.wanted) == 0 {
			continue
		}
		name, value, ok := protoscan.Pair(b[at:end:end])
		if !ok {
			continue // The forwarder refuses this series, and takes its neighbours.
		}
		for j, wanted := range s.wanted {
			if string(name) == wanted {
				s.values[j] = value
			}
		}
	}
	return true
}

// skipLabels returns where the labels from i on end that are as encoders write them, shorter
// than 128 bytes, and have names of other lengths than those that decide.
func (s *splitter) skipLabels(b []byte, i int) int {
	for len(b)-i >= 6 && b[i] == 0x0a && b[i+2] == 0x0a {
		size, length := int(b[i+1]), int(b[i+3])
		end, value := i+2+size, i+4+length
		if size >= 0x80 || end > len(b) || value+2 > end || s.lengths.has(length) ||
			b[value] != 0x12 || value+2+int(b[value+1]) != end {
			break
		}
		i = end
	}
	return i
}

// lengths are a set of those below 128.
type lengths [2]uint64

func (l *lengths) add(n int) {
	if n < 128 {
		l[n/64] |= 1 << (n % 64)
	}
}

func (l *lengths) has(n int) bool { return l[n/64&1]>>(n%64)&1 > 0 }

// scanV2 finds the symbols and the series of an io.prometheus.write.v2.Request, and the
// groups of these:
//
//	message Request {
//	  repeated string symbols = 4;
//	  repeated TimeSeries timeseries = 5;
//	}
func (s *splitter) scanV2() error {
	if err := s.scanSymbols(); err != nil {
		return err
	}
	b := s.decoded.Bytes
	for i := 0; i < len(b); {
		start := i
		at, end := protoscan.Short(b, i, 0x2a)
		if end == 0 {
			f, _ := protoscan.Read(b, i) // It was read before.
			if i = f.Next; f.Number != 5 {
				continue
			}
			at, end = f.Next-len(f.Bytes), f.Next
		}
		series := b[at:end:end]
		if !s.labelsV2(series) {
			return ErrDamaged
		}
		if err := s.place(s.key(), span{uint32(start), uint32(end)}, series, &fieldsV2); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// scanSymbols finds the symbols, which may come after the series that refer to them.
func (s *splitter) scanSymbols() error {
	b := s.decoded.Bytes
	for i := 0; i < len(b); {
		if _, end := protoscan.Short(b, i, 0x2a); end > 0 {
			i = end
			continue
		}
		f, ok := protoscan.Read(b, i)
		if !ok || (f.Number == 4 || f.Number == 5) && f.Wire != protoscan.TypeBytes {
			return ErrDamaged
		}
		start := i
		if i = f.Next; f.Number != 4 {
			continue
		}
		one := symbol{span: span{uint32(start), uint32(i)}, content: uint32(i - len(f.Bytes))}
		for j, wanted := range s.wanted {
			if string(f.Bytes) == wanted {
				one.wanted = uint8(j + 1)
			}
		}
		if err := push(s, &s.symbols, one); err != nil {
			return err
		}
	}
	if len(s.symbols) > 0 && s.symbols[0].content != s.symbols[0].end {
		return ErrDamaged // The first has to be empty.
	}
	return nil
}

// labelsV2 finds the values of the labels that decide in an
// io.prometheus.write.v2.TimeSeries:
//
//	message TimeSeries {
//	  repeated uint32 labels_refs = 1;
//	  repeated Sample samples = 2;
//	  repeated Histogram histograms = 3;
//	  repeated Exemplar exemplars = 4;
//	  Metadata metadata = 5;
//	}
func (s *splitter) labelsV2(b []byte) bool {
	clear(s.values)
	var pair refPair
	for i := 0; i < len(b); {
		f, ok := protoscan.Read(b, i)
		if !ok {
			return false
		}
		i = f.Next
		switch {
		case f.Number == 1 && f.Wire == protoscan.TypeBytes:
			if !s.refs(&pair, f.Bytes) {
				return false
			}
		case f.Number == 1 && f.Wire == protoscan.TypeVarint:
			s.ref(&pair, uint32(f.Value))
		case f.Number == 1, f.Number <= 5 && f.Wire != protoscan.TypeBytes:
			return false
		}
	}
	return true
}

// refPair is the name that a reference to a value follows.
type refPair struct {
	wanted uint8 // as that of its symbol
	named  bool
}

// refs reads packed references.
func (s *splitter) refs(pair *refPair, b []byte) bool {
	for i := 0; i < len(b); {
		if !pair.named {
			if next := s.skipPair(b, i); next > 0 {
				i = next
				continue
			}
		}
		ref, next := protoscan.Varint(b, i)
		if next == 0 {
			return false
		}
		s.ref(pair, uint32(ref))
		i = next
	}
	return true
}

// skipPair returns where the pair of references at i ends, if both are as short as they are
// as a rule, and the name is none that decides; otherwise 0.
func (s *splitter) skipPair(b []byte, i int) int {
	if len(b)-i < 4 {
		return 0
	}
	name, n := uint32(b[i]), i+1
	if name >= 0x80 {
		if b[n] >= 0x80 {
			return 0
		}
		name, n = name&0x7f|uint32(b[n])<<7, n+1
	}
	if int(name) < len(s.symbols) && s.symbols[name].wanted > 0 {
		return 0
	}
	if b[n] >= 0x80 {
		if n++; b[n] >= 0x80 {
			return 0
		}
	}
	return n + 1
}

// ref reads a reference to a name or a value in turn.
func (s *splitter) ref(pair *refPair, ref uint32) {
	known := uint64(ref) < uint64(len(s.symbols))
	if !pair.named {
		pair.named, pair.wanted = true, 0
		if known {
			pair.wanted = s.symbols[ref].wanted
		}
		return
	}
	pair.named = false
	if pair.wanted > 0 && known {
		one := &s.symbols[ref]
		s.values[pair.wanted-1] = s.decoded.Bytes[one.content:one.end]
	}
}
