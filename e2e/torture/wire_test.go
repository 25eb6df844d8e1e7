package torture

import (
	"math"
	"testing"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// encodeV1 writes a remote write 1.0 request: our TimeSeries has its fields.
func encodeV1(request []*metricsv1.TimeSeries) ([]byte, error) {
	var b []byte
	for _, s := range request {
		wire, err := proto.Marshal(s)
		if err != nil {
			return nil, err
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), wire)
	}
	return snappy.Encode(nil, b), nil
}

// symbols of a remote write 2.0 request.
type symbols struct {
	list    []string
	numbers map[string]uint64
}

func (s *symbols) number(text string) uint64 {
	n, ok := s.numbers[text]
	if !ok {
		n = uint64(len(s.list))
		s.numbers[text] = n
		s.list = append(s.list, text)
	}
	return n
}

func (s *symbols) labels(labels []*metricsv1.Label) (packed []byte) {
	for _, l := range labels {
		packed = protowire.AppendVarint(packed, s.number(l.GetName()))
		packed = protowire.AppendVarint(packed, s.number(l.GetValue()))
	}
	return packed
}

// encodeV2 writes a remote write 2.0 request. Its samples and histograms have
// the fields of ours.
func encodeV2(request []*metricsv1.TimeSeries) ([]byte, error) {
	table := &symbols{list: []string{""}, numbers: map[string]uint64{"": 0}}
	var all []byte
	for _, s := range request {
		b := appendField(nil, 1, table.labels(s.GetLabels()))
		for _, x := range s.GetSamples() {
			wire, err := proto.Marshal(x)
			if err != nil {
				return nil, err
			}
			b = appendField(b, 2, wire)
		}
		for _, x := range s.GetHistograms() {
			wire, err := proto.Marshal(x)
			if err != nil {
				return nil, err
			}
			b = appendField(b, 3, wire)
		}
		for _, x := range s.GetExemplars() {
			e := appendField(nil, 1, table.labels(x.GetLabels()))
			e = protowire.AppendFixed64(protowire.AppendTag(e, 2, protowire.Fixed64Type), math.Float64bits(x.GetValue()))
			e = protowire.AppendVarint(protowire.AppendTag(e, 3, protowire.VarintType), uint64(x.GetTimestamp()))
			b = appendField(b, 4, e)
		}
		meta := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 2)
		meta = protowire.AppendVarint(protowire.AppendTag(meta, 3, protowire.VarintType), table.number("Help of torture."))
		all = appendField(all, 5, appendField(b, 5, meta))
	}
	var b []byte
	for _, text := range table.list {
		b = appendField(b, 4, []byte(text))
	}
	return snappy.Encode(nil, append(b, all...)), nil
}

func appendField(b []byte, number protowire.Number, data []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), data)
}

func encode(t testing.TB, request []*metricsv1.TimeSeries, v2 bool) []byte {
	write := encodeV1
	if v2 {
		write = encodeV2
	}
	body, err := write(request)
	if err != nil {
		t.Errorf("encode a request: %v", err)
	}
	return body
}
