package bounds

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/promgrpc/exporter/e2e/harness"
	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

var ratioFor = flag.Duration("ratio-for", 10*time.Second, "how long requests are looked for that take much more than they are")

// genes decide what a request is.
type genes [8]uint32

func (g genes) mutated(random *rand.Rand) genes {
	g[random.IntN(len(g))] = random.Uint32()
	return g
}

// size is a number up to most that is small as often as it is large.
func size(gene uint32, most int) int {
	bits := len(strconv.FormatUint(uint64(most), 2))
	return int(gene>>8) % min(most+1, 2<<(int(gene&0xff)%bits))
}

// kind of requests. Of makes one, says in words what it is, how many bytes it has,
// and sends it.
type kind struct {
	name string
	of   func(g genes, r *rig) (text string, bytes int, send func(ctx context.Context, a *attacker))
}

var kinds = []kind{{"write 2.0", randomWrite}, {"selector", randomSelector}, {"stream", randomStream}, {"frame", randomFrame}}

// randomWrite is a table of symbols, and series that refer to it.
func randomWrite(g genes, r *rig) (string, int, func(context.Context, *attacker)) {
	limits := r.configs.Forwarder.Limits
	long, labels, exemplars := size(g[0], 2*limits.ValueBytes), size(g[1], 2*limits.Labels), size(g[2], 100)
	series, help := size(g[3], limits.Series/4), size(g[4], 1<<20)
	m := newTable()
	refs := m.labels("__name__", "ratio")
	for i := range labels {
		refs = append(refs, m.ref(fmt.Sprint("l", i)), m.ref(strings.Repeat("v", long)))
	}
	helpRef := m.ref(strings.Repeat("h", help))
	for i := 0; i < series && i*labels < 2_000_000; i++ {
		s := writev2.TimeSeries{LabelsRefs: append(m.labels("a", fmt.Sprint(g[5]%8, "-", i)), refs...), Samples: sampleNow()}
		s.Metadata.HelpRef = helpRef
		for range exemplars {
			s.Exemplars = append(s.Exemplars, writev2.Exemplar{LabelsRefs: refs, Timestamp: int64(g[6])})
		}
		m.add(s)
		exemplars = min(exemplars, 1)
	}
	data, _ := m.request.Marshal() // It is valid.
	text := fmt.Sprintf("%d series of %d labels of %d bytes, help of %d", series, labels, long, help)
	return text, len(data), func(ctx context.Context, a *attacker) { a.postBytes(ctx, data, true) }
}

// randomSelector is a regular expression of parts that are dear in different ways.
func randomSelector(g genes, r *rig) (string, int, func(context.Context, *attacker)) {
	parts := []string{".*", "x{1000}", "(a|b|c)", `\\pL`, "[^a-z]{50}", "(/|[a-z0-9]|.){0,30}", "(?i:namespaces)", "(.+)+", "literal|", "a?"}
	var b strings.Builder
	for i := 0; b.Len() < size(g[0], longest()-64); i++ {
		b.WriteString(parts[int(g[1+i%4]>>(i/4%8*4))%len(parts)])
	}
	selector := fmt.Sprintf(`{path=~"%s"}`, b.String())
	text := selector[:min(100, len(selector))]
	return text, len(selector), func(ctx context.Context, a *attacker) {
		api := a.api(int(g[5]))
		if g[6]%2 == 0 {
			_, _ = api.GetLabelValues(ctx, connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "path", Selectors: []string{selector}}))
			return
		}
		_ = drain(ctx, api, &metricsv1.GetMetricsRequest{Selectors: []string{selector}})
	}
}

// randomStream follows, from a cursor or not, and holds back or not.
func randomStream(g genes, r *rig) (string, int, func(context.Context, *attacker)) {
	q := &metricsv1.GetMetricsRequest{Follow: g[0]%2 == 0, LabelReferences: g[1]%2 == 0}
	if q.Follow && g[2]%2 == 0 {
		q.MinInterval = durationpb.New(time.Duration(size(g[3], 3600)) * time.Second)
	}
	for range size(g[4], 64) {
		q.Selectors = append(q.Selectors, `{id!=""}`)
	}
	text := fmt.Sprintf("follow %v, references %v, interval %s, %d selectors", q.Follow, q.LabelReferences, q.GetMinInterval().AsDuration(), len(q.Selectors))
	return text, proto.Size(q), func(ctx context.Context, a *attacker) { _ = drain(ctx, a.api(int(g[5])), q) }
}

// randomFrame is a frame that says that it is longer than what comes, or is full
// of small things.
func randomFrame(g genes, r *rig) (string, int, func(context.Context, *attacker)) {
	n, missing := size(g[0], int(r.configs.Forwarder.RequestBytes)), size(g[1], 1<<20)
	data := frame(&linkv1.Frame{Kind: &linkv1.Frame_Batch{Batch: &linkv1.Batch{Id: 1, Schema: linkv1.Schema(1 + g[2]%2), Body: bytes.Repeat([]byte{byte(g[3])}, n)}}})
	if g[4]%2 == 0 {
		v := &linkv1.Verdict{Id: 1, Errors: make([]string, min(n, 1<<20))}
		data = frame(&linkv1.Frame{Kind: &linkv1.Frame_Verdict{Verdict: v}})
	}
	data = data[:len(data)-min(missing, len(data)/2)]
	text := fmt.Sprintf("%d bytes, %d missing, of texts %v", n, missing, g[4]%2 == 0)
	return text, len(data), func(ctx context.Context, a *attacker) {
		conn, err := a.peerOf(ctx, a.r.Forwarders[0], linkv1.Role_ROLE_RECEIVER)
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
		_, _ = conn.Write(data)
		hold(conn)
	}
}

// found is the request of a kind that took the most.
type found struct {
	genes genes
	text  string
	bytes int
	ratio float64
}

// TestRatio makes up requests, changes those that took the most memory or time, and
// tells which took the most for each of their bytes. It fails if a process takes
// more than the formula allows it.
func TestRatio(t *testing.T) {
	r := newRig(t, harness.Options{})
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	memory, seconds := map[string]*found{}, map[string]*found{}
	tried := 0
	for end := time.Now().Add(*ratioFor); time.Now().Before(end); tried++ {
		k := kinds[tried%len(kinds)]
		g := genes{}
		best := []map[string]*found{memory, seconds}[random.IntN(2)][k.name]
		if best != nil && random.IntN(3) > 0 {
			g = best.genes.mutated(random)
		} else {
			for i := range g {
				g[i] = random.Uint32()
			}
		}
		text, bytes, send := k.of(g, r)
		grown, cpu := r.cost(send)
		if !r.alive(t) {
			t.Fatalf("%s: %s", k.name, text)
		}
		for of, took := range map[*map[string]*found]float64{&memory: float64(grown), &seconds: cpu.Seconds() * 1e9} {
			if ratio := took / float64((bytes+headers)*atOnce); (*of)[k.name] == nil || ratio > (*of)[k.name].ratio {
				(*of)[k.name] = &found{g, text, bytes, ratio}
			}
		}
	}
	t.Logf("%d requests", tried)
	for _, k := range kinds {
		if m, c := memory[k.name], seconds[k.name]; m != nil && c != nil {
			t.Logf("%s: %.0f bytes of memory for each of %d: %s", k.name, m.ratio, m.bytes, m.text)
			t.Logf("%s: %.0f ns of CPU for each of %d: %s", k.name, c.ratio, c.bytes, c.text)
		}
	}
	r.within(t, harness.Load{Series: live(), Connections: atOnce})
}

// atOnce is how many times a request is sent at a time.
const atOnce = 8

// headers are what a request takes besides its body, about.
const headers = 200

// cost sends a request some times, and returns by how much all processes grew
// meanwhile, and the time that they took, beyond what they take anyhow.
func (r *rig) cost(send func(context.Context, *attacker)) (grown int64, cpu time.Duration) {
	const anyhow = 4 << 20
	before, begin := int64(0), time.Now()
	for _, p := range r.Processes() {
		before += p.Memory().RSS
		p.ResetPeak()
		cpu -= r.cpu(p)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for n := range atOnce {
		a := newAttacker(r, 1+n%several)
		defer a.close()
		wg.Go(func() { send(ctx, a) })
	}
	wg.Wait()
	after := int64(0)
	for _, p := range r.Processes() {
		after += p.Memory().Peak
		cpu += r.cpu(p)
	}
	const load = 0.2 // Of the time that passes.
	return max(0, after-before-anyhow), max(0, cpu-time.Duration(load*float64(time.Since(begin))))
}

// cpu is the time that a process has taken.
func (r *rig) cpu(p *harness.Process) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const tick = 10 * time.Millisecond
	ticks := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			r.t.Errorf("time of %s: %v", p.Name, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick
}
