package cli

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/clients/cli/output"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/segment"
)

// chunk is how many series go to the output at once.
const chunk = 1000

// samplePrinter prints the samples of a segment in an output's format.
type samplePrinter struct {
	output   output.Output
	keyframe bool // print its samples too
	labels   map[uint64][]*metricsv1.Label
	metadata output.Metadata
	pending  []*metricsv1.TimeSeries
}

// newSamplePrinter returns a printer that adds to the output's metadata what it reads.
func newSamplePrinter(o output.Output, metadata output.Metadata, keyframe bool) *samplePrinter {
	return &samplePrinter{output: o, keyframe: keyframe, labels: map[uint64][]*metricsv1.Label{}, metadata: metadata}
}

func (p *samplePrinter) header(segment.Header, int64) error { return nil }

func (p *samplePrinter) frame(f *segment.Frame) error {
	var err error
	switch f.Header.Kind {
	case segment.KindKeyframe:
		err = p.state(&f.Keyframe)
	case segment.KindBlock:
		err = p.block(f.Block)
	}
	if err != nil {
		return fmt.Errorf("frame at offset %d: %w", f.Offset, err)
	}
	return p.emit(0)
}

func (p *samplePrinter) close(whole bool) error {
	if whole {
		return p.output.Close()
	}
	return p.output.Flush()
}

func (p *samplePrinter) introduce(series *segment.SeriesTable, metadata []segment.Metadata) {
	labels := make([]*metricsv1.Label, len(series.Labels))
	for i, l := range series.Labels {
		labels[i] = &metricsv1.Label{Name: l.Name, Value: l.Value}
	}
	for i, ref := range series.Refs {
		row := series.Row(i)
		p.labels[ref] = make([]*metricsv1.Label, len(row))
		for j, index := range row {
			p.labels[ref][j] = labels[index]
		}
	}
	for _, m := range metadata {
		p.metadata[m.Family] = &metricsv1.MetricMetadata{
			MetricFamilyName: m.Family, Type: metricsv1.MetricType(m.Type), Help: m.Help, Unit: m.Unit,
		}
	}
}

func (p *samplePrinter) state(k *segment.Keyframe) error {
	p.introduce(&k.Series, k.Metadata)
	if !p.keyframe {
		return nil
	}
	for i, latest := range k.Latest {
		ref := k.Series.Refs[i]
		switch {
		case latest.None:
		case latest.Histogram != nil:
			if err := p.histogram(ref, latest.Histogram); err != nil {
				return err
			}
		default:
			p.float(ref, &metricsv1.Sample{Timestamp: latest.Timestamp, Value: latest.Value, StartTimestamp: latest.StartTimestamp})
		}
		if err := p.emit(chunk); err != nil {
			return err
		}
	}
	return nil
}

func (p *samplePrinter) block(b *segment.Block) error {
	p.introduce(&b.Series, b.Metadata)
	for part, h := range b.Parts() {
		if h != nil {
			if err := p.histogram(h.Ref, h.Data); err != nil {
				return err
			}
		}
		for i, v := range part.Values {
			p.float(part.First+uint64(i), &metricsv1.Sample{Timestamp: part.Timestamp, Value: v, StartTimestamp: part.StartTimestamp})
			if err := p.emit(chunk); err != nil {
				return err
			}
		}
	}
	for _, e := range b.Exemplars {
		m := new(metricsv1.Exemplar)
		if err := proto.Unmarshal(e.Data, m); err != nil {
			return fmt.Errorf("exemplar: %w", err)
		}
		p.pending = append(p.pending, &metricsv1.TimeSeries{Labels: p.labels[e.Ref], Exemplars: []*metricsv1.Exemplar{m}})
	}
	return nil
}

func (p *samplePrinter) float(ref uint64, s *metricsv1.Sample) {
	p.pending = append(p.pending, &metricsv1.TimeSeries{Labels: p.labels[ref], Samples: []*metricsv1.Sample{s}})
}

func (p *samplePrinter) histogram(ref uint64, data []byte) error {
	h := new(metricsv1.Histogram)
	if err := proto.Unmarshal(data, h); err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	p.pending = append(p.pending, &metricsv1.TimeSeries{Labels: p.labels[ref], Histograms: []*metricsv1.Histogram{h}})
	return nil
}

// emit prints what is pending, if more than n series.
func (p *samplePrinter) emit(n int) error {
	if len(p.pending) <= n {
		return nil
	}
	err := p.output.Series(p.pending)
	p.pending = p.pending[:0]
	return err
}
