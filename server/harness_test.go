package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server"
	"github.com/promgrpc/exporter/server/internal/logtest"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(benchClientEnv); spec != "" {
		benchClient(spec)
		return
	}
	goleak.VerifyTestMain(m)
}

const patience = time.Minute

var staleNaN = math.Float64frombits(0x7ff0000000000002)

// source is a forwarder's log without the forwarder around it.
type source struct {
	t      testing.TB
	dir    string
	store  *seglog.Store
	writer *seglog.Writer
	head   *head.Head

	mu   sync.Mutex
	refs map[string]uint64
	seq  uint64
}

func newSource(t testing.TB) *source {
	return newSourceWith(t, seglog.Options{})
}

func newSourceWith(t testing.TB, o seglog.Options) *source {
	t.Helper()
	defaults := seglog.DefaultOptions()
	defaults.Sync = seglog.SyncNever
	if o.SegmentSize != 0 {
		defaults.SegmentSize = o.SegmentSize
	}
	defaults.RetentionSize, defaults.Logger = o.RetentionSize, slog.New(slog.DiscardHandler)
	return openSource(t, t.TempDir(), defaults)
}

// openSource opens the log that is in a folder, or starts one.
func openSource(t testing.TB, dir string, o seglog.Options) *source {
	t.Helper()
	store, err := seglog.OpenStore(dir, o)
	require.NoError(t, err)
	s := &source{t: t, dir: dir, store: store, head: head.New(), refs: make(map[string]uint64)}
	s.writer, err = store.OpenWriter(s.head)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.writer.Close())
		require.NoError(t, store.Close())
	})
	return s
}

// point is a sample for write. Series look like `up{a="b",c="d"}`, labels in
// order.
type point struct {
	series    string
	t         int64
	v         float64
	histogram []byte
	exemplar  []byte
	start     int64
}

func (s *source) write(points ...point) uint64 {
	s.t.Helper()
	return s.append(s.block(points...))
}

func (s *source) block(points ...point) *segment.Block {
	b := &segment.Block{Time: time.Now().UnixMilli()}
	s.mu.Lock()
	defer s.mu.Unlock()
	var series []segment.Series
	for _, p := range points {
		ref, ok := s.refs[p.series]
		if !ok {
			ref = s.head.NextRef() + uint64(len(series))
			s.refs[p.series] = ref
			series = append(series, segment.Series{Ref: ref, Labels: parseSeries(p.series)})
		}
		switch {
		case p.exemplar != nil:
			b.Exemplars = append(b.Exemplars, segment.Exemplar{Ref: ref, Data: p.exemplar})
		case p.histogram != nil:
			b.AddHistogram(ref, p.t, p.histogram)
		default:
			b.Samples.Add(segment.Sample{Ref: ref, Timestamp: p.t, StartTimestamp: p.start, Value: p.v})
		}
	}
	b.Series = segment.TableOf(series...)
	return b
}

func (s *source) append(b *segment.Block) uint64 {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	seq, err := s.writer.Append(b)
	require.NoError(s.t, err)
	b.Sequence = seq
	require.NoError(s.t, s.head.ApplyBlock(b))
	require.NoError(s.t, s.writer.WaitDurable(seq))
	s.seq = seq
	return seq
}

func (s *source) rotate() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NoError(s.t, s.writer.Rotate())
}

func parseSeries(text string) segment.Labels {
	name, rest, _ := strings.Cut(text, "{")
	ls := segment.Labels{{Name: "__name__", Value: name}}
	for pair := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
		if n, v, ok := strings.Cut(pair, "="); ok {
			ls = append(ls, segment.Label{Name: n, Value: strings.Trim(v, `"`)})
		}
	}
	return ls
}

// feed sends the log to a server until the test ends or stop is called.
func (s *source) feed(srv *server.Server) (stop func()) { return s.feedBy(srv, link.Options{}) }

func (s *source) feedBy(srv *server.Server, o link.Options) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_ = s.feedWith(ctx, srv.LinkAddr().String(), o)
			time.Sleep(5 * time.Millisecond)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	s.t.Cleanup(stop)
	return stop
}

func (s *source) feedOnce(ctx context.Context, address string) error {
	return s.feedWith(ctx, address, link.Options{})
}

func (s *source) feedWith(ctx context.Context, address string, o link.Options) error {
	id := s.writer.Log().ID()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}
	c, welcome, err := link.Dial(ctx, address, hello, o)
	if err != nil {
		return err
	}
	defer c.Close()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(inner, func() { _ = c.Close() })()
	var acks sync.WaitGroup
	defer acks.Wait()
	defer c.Close()
	acks.Go(func() {
		defer cancel()
		for {
			if _, err := c.Receive(); err != nil {
				return
			}
		}
	})
	tail := &linkv1.Position{LogId: id[:], Sequence: s.writer.Log().Last()}
	if err := c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Tail{Tail: tail}}); err != nil {
		return err
	}
	return logship.Send(inner, s.writer.Log(), welcome.GetPosition().GetSequence(), logship.Frames{Conn: c}, logship.Options{})
}

// instance is a server that runs.
type instance struct {
	*server.Server
	registry *prometheus.Registry
	log      *logtest.Text
	stop     func()
}

func testConfig(t testing.TB) server.Config {
	c := server.DefaultConfig()
	c.LinkAddress, c.RPCAddress, c.WebAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.StoragePath = t.TempDir()
	c.Sync = "never"
	c.DrainTimeout = 3 * time.Second
	c.Settle = 0
	return c
}

func start(t testing.TB, c server.Config) *instance {
	t.Helper()
	registry := prometheus.NewRegistry()
	log := new(logtest.Text)
	s, err := server.New(c, slog.New(slog.NewTextHandler(log, nil)), registry)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	return &instance{Server: s, registry: registry, log: log, stop: stop}
}

// startFed starts a server that is fed from sources, and waits until it has all
// that is in them.
func startFed(t testing.TB, c server.Config, sources ...*source) *instance {
	t.Helper()
	s := start(t, c)
	for _, src := range sources {
		src.feed(s.Server)
	}
	s.await(t, sources...)
	return s
}

func (s *instance) await(t testing.TB, sources ...*source) {
	t.Helper()
	require.Eventually(t, func() bool { return s.Ready() == nil }, patience, time.Millisecond)
	for _, src := range sources {
		require.Eventually(t, func() bool { return s.last(t, src) >= src.writer.Log().Last() }, patience, time.Millisecond)
	}
}

// last is the last sequence that the server has of a source.
func (s *instance) last(t testing.TB, src *source) uint64 {
	families, err := s.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != "promgrpc_server_last_sequence" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == src.writer.Log().ID().String() {
				return uint64(m.GetGauge().GetValue())
			}
		}
	}
	return 0
}

func (s *instance) metric(t testing.TB, name string) float64 { return sumOf(t, s.registry, name) }

// sumOf is a metric, over all its labels.
func sumOf(t testing.TB, metrics prometheus.Gatherer, name string) (sum float64) {
	families, err := metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// metricOf is a metric with a value of its only label.
func (s *instance) metricOf(t testing.TB, name, label string) float64 {
	families, err := s.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// now in ms, as samples have it.
func now() int64 { return time.Now().UnixMilli() }

func name(i int) string { return fmt.Sprintf(`m{i="%05d"}`, i) }
