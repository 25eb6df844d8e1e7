package bounds

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/promgrpc/exporter/e2e/harness"
	"github.com/promgrpc/exporter/forwarder/remotewrite"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
)

// TestWriting has senders attack the receiver that others write to.
func TestWriting(t *testing.T) {
	r := newRig(t, harness.Options{})
	t.Run("read by grpc-go", func(t *testing.T) { readLargest(t, r) })
	r.withstands(t, []attack{
		// First, since later ones fill what live series may be.
		{name: "largest series", callers: 1, once: largestSeries, refusals: []string{"204"}},
		{name: "help that many families share", callers: 2, once: dear(sharedHelp), refusals: append(overLimit, "204")},
		{name: "families without end", callers: 4, once: dear(manyFamilies), refusals: overLimit, queue: true},
		{name: "references of exemplars", callers: 8, once: dear(exemplarReferences), refusals: overLimit},
		{name: "references of labels", callers: 4, once: dear(labelReferences), refusals: append(overLimit, "204")},
		{name: "labels of many series", callers: 4, once: dear(manyLabels), refusals: overLimit, queue: true},
		{name: "refusals that are remembered", callers: 8, once: refusedLabels, refusals: []string{"400"}},
		{name: "series that come and go", callers: 4, once: churn, refusals: []string{"204", "--limit.live-series"}},
		{name: "slow bodies", callers: 64, once: slowBody},
	})
	t.Run("restart", func(t *testing.T) { restart(t, r) })
	r.fallsBack(t, 0)
}

// overLimit is a refusal that names a limit.
var overLimit = []string{"400 --limit.", "413 --limit."}

// marshaler is a request of remote write 1.0 or 2.0.
type marshaler interface{ Marshal() ([]byte, error) }

// post writes a request, and returns the status and the limit that it names.
func (a *attacker) post(ctx context.Context, message marshaler) string {
	data, err := message.Marshal()
	if err != nil {
		return err.Error()
	}
	_, v2 := message.(*writev2.Request)
	return a.postBytes(ctx, data, v2)
}

func (a *attacker) postBytes(ctx context.Context, data []byte, v2 bool) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.r.WriteURL(), bytes.NewReader(snappy.Encode(nil, data)))
	if err != nil {
		return err.Error()
	}
	r.Header.Set("Content-Encoding", "snappy")
	r.Header.Set("Content-Type", "application/x-protobuf")
	if v2 {
		r.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
	}
	return a.answer(a.web, r)
}

// variants of a dear request that are made beforehand, since to make one costs the
// machine as much as to read it.
const variants = 4

// dear sends requests that are dear to make: each time another of the variants,
// with a sample at its end that none had before, so that it is no repeat.
func dear(build func(limits remotewrite.Limits, n int) marshaler) func(context.Context, *attacker, int) string {
	var once sync.Once
	var bodies [variants][]byte
	v2 := false
	return func(ctx context.Context, a *attacker, n int) string {
		once.Do(func() {
			for i := range bodies {
				message := build(a.r.configs.Forwarder.Limits, i)
				bodies[i], _ = message.Marshal() // It is valid.
				_, v2 = message.(*writev2.Request)
			}
		})
		body := bodies[n%variants]
		last, _ := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
			Labels: []prompb.Label{{Name: "__name__", Value: "last"}}, Samples: []prompb.Sample{{Value: float64(time.Now().UnixNano())}},
		}}}).Marshal()
		if v2 {
			last, _ = (&writev2.Request{Timeseries: []writev2.TimeSeries{{
				LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Value: float64(time.Now().UnixNano())}},
			}}}).Marshal()
		}
		return a.postBytes(ctx, append(body[:len(body):len(body)], last...), v2)
	}
}

// nonce is a text that no other request has, so that none is a repeat.
func (a *attacker) nonce(n int) string {
	return fmt.Sprintf("%s-%d-%d", a.ip, n, time.Now().UnixNano())
}

// table builds a request of 2.0.
type table struct {
	request writev2.Request
	refs    map[string]uint32
}

// newTable returns one whose symbols 1 and 2 are a metric's name.
func newTable() *table {
	t := &table{request: writev2.Request{Symbols: []string{""}}, refs: map[string]uint32{"": 0}}
	t.labels("__name__", "last")
	return t
}

func (t *table) ref(symbol string) uint32 {
	ref, ok := t.refs[symbol]
	if !ok {
		ref = uint32(len(t.request.Symbols))
		t.refs[symbol] = ref
		t.request.Symbols = append(t.request.Symbols, symbol)
	}
	return ref
}

func (t *table) labels(pairs ...string) []uint32 {
	var refs []uint32
	for _, text := range pairs {
		refs = append(refs, t.ref(text))
	}
	return refs
}

func (t *table) add(s writev2.TimeSeries) { t.request.Timeseries = append(t.request.Timeseries, s) }

func sampleNow() []writev2.Sample {
	return []writev2.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}}
}

// sharedHelp gives new families one text of help, as long as a request can be.
func sharedHelp(limits remotewrite.Limits, n int) marshaler {
	m := newTable()
	help := m.ref(strings.Repeat("h", limits.DecodedBytes/8))
	for i := range 30 {
		m.add(writev2.TimeSeries{
			LabelsRefs: m.labels("__name__", fmt.Sprintf("help_%d_%d", n, i)), Samples: sampleNow(),
			Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE, HelpRef: help},
		})
	}
	return &m.request
}

// manyFamilies brings as many new families as a request may, without any series.
func manyFamilies(limits remotewrite.Limits, n int) marshaler {
	request := &prompb.WriteRequest{}
	for i := range limits.Series * 9 / 10 {
		request.Metadata = append(request.Metadata, prompb.MetricMetadata{
			Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: fmt.Sprintf("f%d_%d", n, i), Help: "what it is",
		})
	}
	return request
}

// exemplarReferences has exemplars whose labels all refer to one long symbol.
func exemplarReferences(limits remotewrite.Limits, n int) marshaler {
	m := newTable()
	long := m.ref(strings.Repeat("v", limits.ValueBytes))
	var refs []uint32
	for i := range limits.Labels {
		refs = append(refs, m.ref(fmt.Sprintf("l%03d", i)), long)
	}
	s := writev2.TimeSeries{LabelsRefs: m.labels("__name__", "exemplars", "n", fmt.Sprint(n)), Samples: sampleNow()}
	for i := range 150 {
		s.Exemplars = append(s.Exemplars, writev2.Exemplar{LabelsRefs: refs, Value: float64(i), Timestamp: time.Now().UnixMilli()})
	}
	m.add(s)
	return &m.request
}

// labelReferences has series whose labels all refer to one long symbol.
func labelReferences(limits remotewrite.Limits, n int) marshaler {
	m := newTable()
	long := m.ref(strings.Repeat("v", limits.ValueBytes))
	refs := m.labels("__name__", "references", "n", fmt.Sprint(n))
	for i := range limits.LabelsBytes/limits.ValueBytes - 1 {
		refs = append(refs, m.ref(fmt.Sprintf("x%03d", i)), long)
	}
	for i := range 10 * limits.DecodedBytes / limits.LabelsBytes {
		m.add(writev2.TimeSeries{LabelsRefs: append(m.labels("a", fmt.Sprint(i)), refs...), Samples: sampleNow()})
	}
	return &m.request
}

// manyLabels is as many series as a request may have, with 51 labels each. Written
// out, they are more than a block can hold.
func manyLabels(limits remotewrite.Limits, n int) marshaler {
	m := newTable()
	var shared []uint32
	for i := range 49 {
		shared = append(shared, m.labels(fmt.Sprintf("x%02d", i), "v")...)
	}
	bytes := 0
	for i := 0; i < limits.Series && bytes < limits.DecodedBytes*8/10; i++ {
		s := writev2.TimeSeries{Samples: sampleNow()}
		s.LabelsRefs = append(append(m.labels("__name__", "labels"), shared...), m.labels("z", fmt.Sprint(n, "-", i))...)
		m.add(s)
		bytes += s.Size() + 20
	}
	return &m.request
}

// refusedLabels has one series that is right, and ten whose labels' names are
// wrong and as long as they may be.
func refusedLabels(ctx context.Context, a *attacker, n int) string {
	request := &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  []prompb.Label{{Name: "__name__", Value: "right"}},
		Samples: []prompb.Sample{{Value: float64(n), Timestamp: time.Now().UnixMilli()}},
	}}}
	for i := range 10 {
		request.Timeseries = append(request.Timeseries, prompb.TimeSeries{
			Labels: []prompb.Label{
				{Name: "__name__", Value: "wrong"},
				{Name: fmt.Sprint(i) + "\xff" + strings.Repeat("x", a.r.configs.Forwarder.Limits.NameBytes-8), Value: a.nonce(n)},
			},
			Samples: []prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}},
		})
	}
	return a.post(ctx, request)
}

// churn brings new series, whose predecessors are not written any more.
func churn(ctx context.Context, a *attacker, n int) string {
	request := &prompb.WriteRequest{}
	nonce := a.nonce(n)
	for i := range perRequest {
		request.Timeseries = append(request.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "churn"}, {Name: "i", Value: fmt.Sprint(nonce, i)}},
			Samples: []prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}},
		})
	}
	return a.post(ctx, request)
}

// largestSeries is as large as the limits let it be, with all that it can have.
func largestSeries(ctx context.Context, a *attacker, n int) string {
	limits := a.r.configs.Forwarder.Limits
	s := prompb.TimeSeries{
		Labels:  []prompb.Label{{Name: "__name__", Value: "largest"}},
		Samples: []prompb.Sample{{Value: float64(n), Timestamp: time.Now().UnixMilli()}},
		Exemplars: []prompb.Exemplar{{
			Labels: []prompb.Label{{Name: "t", Value: strings.Repeat("e", limits.ExemplarRunes-1)}}, Timestamp: time.Now().UnixMilli(),
		}},
	}
	room := limits.LabelsBytes - len("__name__largest")
	for i := 0; i < limits.Labels-1 && room > 0; i++ {
		l := prompb.Label{Name: fmt.Sprintf("l%03d", i)}
		l.Value = strings.Repeat("v", min(limits.ValueBytes, max(1, room-len(l.Name))))
		room -= len(l.Name) + len(l.Value)
		if room < 0 {
			break
		}
		s.Labels = append(s.Labels, l)
	}
	return a.post(ctx, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{s}})
}

// slowBody announces a body and sends next to nothing of it.
func slowBody(ctx context.Context, a *attacker, _ int) string {
	conn, err := a.dialer.DialContext(ctx, "tcp", a.r.Receiver.Listening("web"))
	if err != nil {
		return brief(err.Error())
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "POST /api/v1/write HTTP/1.1\r\nHost: receiver\r\nContent-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n",
		a.r.configs.Receiver.RequestBytes)
	return trickle(ctx, conn, *boundsFor)
}

// readLargest follows the largest series as a client does that grpc-go makes
// without any option.
func readLargest(t *testing.T, r *rig) {
	a := newAttacker(r, 1)
	defer a.close()
	conn, err := a.grpc(r.RPC(0))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := metricsv1grpc.NewMetricsServiceClient(conn).GetMetrics(ctx, &metricsv1.GetMetricsRequest{
		Selectors: []string{"largest"}, Follow: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	wrote := false
	for {
		m, err := s.Recv()
		if err != nil {
			t.Fatalf("the follower cannot get past it: %v", err)
		}
		if m.GetSynced() != nil {
			if got := largestSeries(ctx, a, 1<<30); got != "204" {
				t.Fatal(got)
			}
			wrote = true
		}
		if wrote && len(m.GetTimeseries()) > 0 {
			return
		}
	}
}

// restart restarts the forwarder and a server, which then read what the attacks
// left.
func restart(t *testing.T, r *rig) {
	for _, p := range []*harness.Process{r.Forwarders[0], r.Servers[0]} {
		p.Terminate(patience)
		p.Restart()
		p.Ready(p.Listening("web"))
	}
	begin := time.Now()
	time.Sleep(time.Second)
	h := r.canary.since(begin, r.running)
	t.Log(h)
	r.within(t, harness.Load{Series: live()})
	if len(h.snapshots) == 0 || at(h.follow, 0.95) >= patience {
		t.Errorf("after a restart nothing comes: %s", h)
	}
}
