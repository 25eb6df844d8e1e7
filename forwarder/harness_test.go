package forwarder

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.uber.org/goleak"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	v1 = linkv1.Schema_SCHEMA_WRITE_V1
	v2 = linkv1.Schema_SCHEMA_WRITE_V2
)

// tenantLabel holds the tenant in the tests.
const tenantLabel = "job"

// running is a forwarder that works.
type running struct {
	*Forwarder
	t        *testing.T
	registry *prometheus.Registry
	stop     func()
}

func testConfig(dir string) Config {
	c := DefaultConfig()
	c.WebAddress, c.LinkAddress = "127.0.0.1:0", "127.0.0.1:0"
	c.StoragePath = dir
	c.Instance = "forwarder-under-test"
	c.Tick = 0 // Tests count blocks.
	return c
}

func start(t *testing.T, c Config, changes ...func(*Forwarder)) *running {
	t.Helper()
	r := &running{t: t, registry: prometheus.NewRegistry()}
	var err error
	if r.Forwarder, err = New(c, slog.New(slog.NewTextHandler(&testLog{t: t}, &slog.HandlerOptions{Level: slog.LevelDebug})), r.registry); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change(r.Forwarder)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("forwarder does not end")
		}
	})
	t.Cleanup(r.stop)
	return r
}

// testLog writes to the test's log as long as there is a test.
type testLog struct {
	t  *testing.T
	mu sync.Mutex
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// sender is a receiver's link to the forwarder.
type sender struct {
	t      *testing.T
	conn   *link.Conn
	id     uint64
	tenant *linkv1.Label // of the batches that follow
}

func (r *running) sender() *sender {
	r.t.Helper()
	c, welcome, err := link.Dial(r.t.Context(), r.LinkAddr().String(), &linkv1.Hello{Role: linkv1.Role_ROLE_RECEIVER}, link.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	if welcome.GetMaxBatchBytes() == 0 {
		r.t.Error("no max_batch_bytes")
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return &sender{t: r.t, conn: c}
}

func (s *sender) post(schema linkv1.Schema, body []byte) uint64 {
	s.t.Helper()
	s.id++
	batch := &linkv1.Batch{Id: s.id, Schema: schema, Body: body, Tenant: s.tenant}
	if err := s.conn.Send(&linkv1.Frame{Kind: &linkv1.Frame_Batch{Batch: batch}}); err != nil {
		s.t.Fatal(err)
	}
	return s.id
}

// sendOf sends a request of a tenant, "" for none.
func (s *sender) sendOf(tenant string, schema linkv1.Schema, body []byte) *linkv1.Verdict {
	s.t.Helper()
	if s.tenant = nil; tenant != "" {
		s.tenant = &linkv1.Label{Name: tenantLabel, Value: tenant}
	}
	return s.settled(schema, body)
}

func (s *sender) verdict() *linkv1.Verdict {
	s.t.Helper()
	f, err := s.conn.Receive()
	if err != nil {
		s.t.Fatal(err)
	}
	return f.GetVerdict()
}

func (s *sender) send(schema linkv1.Schema, body []byte) *linkv1.Verdict {
	s.t.Helper()
	id := s.post(schema, body)
	v := s.verdict()
	if v.GetId() != id {
		s.t.Fatalf("verdict of batch %d, want %d", v.GetId(), id)
	}
	return v
}

func (s *sender) mustStore(schema linkv1.Schema, body []byte) *linkv1.Verdict {
	s.t.Helper()
	v := s.send(schema, body)
	if v.GetCode() != linkv1.Code_CODE_OK {
		s.t.Fatalf("verdict: %v", v)
	}
	return v
}

// ts is a series of a request, for both schemas.
type ts struct {
	labels     []string // name and value by turns
	samples    []prompb.Sample
	starts     []int64 // of the samples, 2.0 only
	histograms []prompb.Histogram
	exemplars  []prompb.Exemplar
	metadata   *prompb.MetricMetadata // 2.0 only
}

func one(value float64, at int64, labels ...string) ts {
	return ts{labels: labels, samples: []prompb.Sample{{Value: value, Timestamp: at}}}
}

func bodyOf(t testing.TB, schema linkv1.Schema, series ...ts) []byte {
	t.Helper()
	var b []byte
	var err error
	if schema == v1 {
		b, err = requestV1(series).Marshal()
	} else {
		b, err = requestV2(series).Marshal()
	}
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, b)
}

func requestV1(series []ts) *prompb.WriteRequest {
	req := &prompb.WriteRequest{}
	for _, s := range series {
		x := prompb.TimeSeries{Samples: s.samples, Histograms: s.histograms, Exemplars: s.exemplars}
		for i := 0; i+1 < len(s.labels); i += 2 {
			x.Labels = append(x.Labels, prompb.Label{Name: s.labels[i], Value: s.labels[i+1]})
		}
		req.Timeseries = append(req.Timeseries, x)
	}
	return req
}

func requestV2(series []ts) *writev2.Request {
	req := &writev2.Request{}
	symbols := writev2.NewSymbolTable()
	for _, s := range series {
		var x writev2.TimeSeries
		for _, text := range s.labels {
			x.LabelsRefs = append(x.LabelsRefs, symbols.Symbolize(text))
		}
		for i, sample := range s.samples {
			y := writev2.Sample{Value: sample.Value, Timestamp: sample.Timestamp}
			if s.starts != nil {
				y.StartTimestamp = s.starts[i]
			}
			x.Samples = append(x.Samples, y)
		}
		for _, h := range s.histograms {
			b, _ := h.Marshal()
			var y writev2.Histogram
			_ = y.Unmarshal(b)
			x.Histograms = append(x.Histograms, y)
		}
		for _, e := range s.exemplars {
			y := writev2.Exemplar{Value: e.Value, Timestamp: e.Timestamp}
			for _, l := range e.Labels {
				y.LabelsRefs = append(y.LabelsRefs, symbols.Symbolize(l.Name), symbols.Symbolize(l.Value))
			}
			x.Exemplars = append(x.Exemplars, y)
		}
		if m := s.metadata; m != nil {
			x.Metadata = writev2.Metadata{Type: writev2.Metadata_MetricType(m.Type), HelpRef: symbols.Symbolize(m.Help), UnitRef: symbols.Symbolize(m.Unit)}
		}
		req.Timeseries = append(req.Timeseries, x)
	}
	req.Symbols = symbols.Symbols()
	return req
}

// blocks are all blocks of the log.
func (r *running) blocks() []*segment.Block {
	r.t.Helper()
	l, _ := r.appender.log()
	return blocksOf(r.t, l)
}

func blocksOf(t *testing.T, l *seglog.Log) []*segment.Block {
	t.Helper()
	var blocks collector
	for _, s := range l.Segments() {
		if s.LastSequence < s.FirstSequence {
			continue
		}
		if err := l.RebuildSegment(s.FirstSequence, &blocks, nil); err != nil {
			t.Fatal(err)
		}
	}
	return blocks
}

// collector keeps every block that it is given.
type collector []*segment.Block

func (*collector) ApplyKeyframe(*segment.Keyframe) error { return nil }

func (c *collector) ApplyBlock(b *segment.Block) error {
	taken := *b
	*b = segment.Block{} // whose slices would be used again
	*c = append(*c, &taken)
	return nil
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after half a minute", what)
		}
	}
}

// sameFiles compares the segments in the folders of a log byte for byte.
func sameFiles(t *testing.T, want, got string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(want, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".seg" {
			return err
		}
		files++
		rel, _ := filepath.Rel(want, path)
		a, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(got, rel))
		if err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			return errors.New(rel + " differs")
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%d files compared: %v", files, err)
	}
}

func compress(b []byte) []byte { return snappy.Encode(nil, b) }
