package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// selfWriter writes the process' own metrics, as a Prometheus that scrapes it would: so
// there is something to see before any Prometheus has been pointed here. It does so
// within the process, and needs no credential.
type selfWriter struct {
	gatherer prometheus.Gatherer
	ready    func() error // nil once a request can be written
	write    func(ctx context.Context, body []byte) error
	instance string
	interval time.Duration
	logger   *slog.Logger
}

// selfTimeout for one request.
const selfTimeout = 25 * time.Second

// run sends until ctx ends. What cannot be sent is dropped: the next scrape has
// newer values.
func (w *selfWriter) run(ctx context.Context) error {
	for w.ready() != nil && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	failing := false
	for {
		err := w.send(ctx, time.Now())
		if ctx.Err() != nil {
			return nil // What the end broke off says nothing.
		}
		if failed := err != nil; failed != failing {
			failing = failed
			if failed {
				w.logger.Warn("own metrics are not written", "err", err)
			} else {
				w.logger.Info("own metrics are written again")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (w *selfWriter) send(ctx context.Context, now time.Time) error {
	families, err := w.gatherer.Gather()
	if err != nil {
		return fmt.Errorf("gather own metrics: %w", err)
	}
	body, err := w.encode(families, now)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, selfTimeout)
	defer cancel()
	if err := w.write(ctx, snappy.Encode(nil, body)); err != nil {
		return fmt.Errorf("write own metrics: %w", err)
	}
	return nil
}

// The fields of prometheus.WriteRequest.
const (
	fieldTimeSeries = 1
	fieldMetadata   = 3
)

// encode makes a prometheus.WriteRequest: our TimeSeries and MetricMetadata
// have the bytes of its own.
func (w *selfWriter) encode(families []*dto.MetricFamily, now time.Time) ([]byte, error) {
	samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.TimeFromUnixNano(now.UnixNano())}, families...)
	if err != nil {
		return nil, fmt.Errorf("encode own metrics: %w", err)
	}
	samples = append(samples, &model.Sample{
		Metric: model.Metric{model.MetricNameLabel: "up"}, Value: 1, Timestamp: model.TimeFromUnixNano(now.UnixNano()),
	})
	var body []byte
	for _, s := range samples {
		s.Metric[model.JobLabel] = "prometheus-grpc-exporter"
		s.Metric[model.InstanceLabel] = model.LabelValue(w.instance)
		if body, err = appendMessage(body, fieldTimeSeries, timeSeries(s)); err != nil {
			return nil, err
		}
	}
	for _, f := range families {
		metadata := &metricsv1.MetricMetadata{MetricFamilyName: f.GetName(), Type: metricTypes[f.GetType()], Help: f.GetHelp(), Unit: f.GetUnit()}
		if body, err = appendMessage(body, fieldMetadata, metadata); err != nil {
			return nil, err
		}
	}
	return body, nil
}

func timeSeries(s *model.Sample) *metricsv1.TimeSeries {
	ts := &metricsv1.TimeSeries{Samples: []*metricsv1.Sample{{Value: float64(s.Value), Timestamp: int64(s.Timestamp)}}}
	for name, value := range s.Metric {
		if value != "" {
			ts.Labels = append(ts.Labels, &metricsv1.Label{Name: string(name), Value: string(value)})
		}
	}
	slices.SortFunc(ts.Labels, func(a, b *metricsv1.Label) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return ts
}

func appendMessage(dst []byte, field protowire.Number, m proto.Message) ([]byte, error) {
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode own metrics: %w", err)
	}
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), b), nil
}

var metricTypes = map[dto.MetricType]metricsv1.MetricType{
	dto.MetricType_COUNTER:         metricsv1.MetricType_METRIC_TYPE_COUNTER,
	dto.MetricType_GAUGE:           metricsv1.MetricType_METRIC_TYPE_GAUGE,
	dto.MetricType_SUMMARY:         metricsv1.MetricType_METRIC_TYPE_SUMMARY,
	dto.MetricType_HISTOGRAM:       metricsv1.MetricType_METRIC_TYPE_HISTOGRAM,
	dto.MetricType_GAUGE_HISTOGRAM: metricsv1.MetricType_METRIC_TYPE_GAUGEHISTOGRAM,
}
