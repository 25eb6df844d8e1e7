package split

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/placement"
)

// Bodies that Prometheus' own code makes are split, and what its own code reads of the parts
// is compared with what belongs there.

// groups are those of a rule by labels: the last instant is at 2000.
func rule(t testing.TB, by placement.Spread, groups ...[]string) Rule {
	t.Helper()
	var labels []string
	if by == placement.ByLabels {
		labels = []string{"instance", "job"}
	}
	epochs := []placement.Epoch{{From: placement.Ever, Groups: groups[0]}}
	for i, names := range groups[1:] {
		epochs = append(epochs, placement.Epoch{From: 2000 - int64(len(groups)-2-i)*500, Groups: names})
	}
	p, err := placement.New(1, by, labels, epochs)
	require.NoError(t, err)
	return Rule{Placement: p, Key: placement.KeyOf("sender")}
}

func names(n int) (all []string) {
	for i := range n {
		all = append(all, string(rune('a'+i)))
	}
	return all
}

// rules are all kinds.
func rules(t testing.TB) map[string]Rule {
	tenant := rule(t, placement.ByLabels, names(3), names(4))
	tenant.TenantLabel, tenant.Tenant = "job", "t1"
	all := map[string]Rule{
		"one group":           rule(t, placement.ByLabels, names(1)),
		"two groups":          rule(t, placement.ByLabels, names(2)),
		"eight groups":        rule(t, placement.ByLabels, names(8)),
		"one added":           rule(t, placement.ByLabels, names(2), names(3)),
		"one removed":         rule(t, placement.ByLabels, names(3), names(2)),
		"there and back":      rule(t, placement.ByLabels, names(2), names(5), names(2), names(7)),
		"a tenant's label":    tenant,
		"a sender that stays": rule(t, placement.BySender, names(4)),
		"a tenant that moves": rule(t, placement.ByTenant, []string{"a"}, []string{"b"}, []string{"c"}),
	}
	return all
}

func unbounded(int64) error { return nil }

// keyOf is the key that a series has, by other means than the splitter's.
func keyOf(r *Rule, labels []prompb.Label) placement.Key {
	if r.Placement.Spread() != placement.ByLabels {
		return r.Key
	}
	var values []string
	for _, name := range r.Placement.Labels() {
		value := ""
		for _, l := range labels {
			if l.Name == name {
				value = l.Value
			}
		}
		if name == r.TenantLabel {
			value = r.Tenant
		}
		values = append(values, value)
	}
	return placement.KeyOf(values...)
}

// divide returns what of a body belongs to each group.
func divide(r *Rule, body *prompb.WriteRequest) map[int]*prompb.WriteRequest {
	parts := map[int]*prompb.WriteRequest{}
	of := func(group int) *prompb.WriteRequest {
		if parts[group] == nil {
			parts[group] = &prompb.WriteRequest{}
		}
		return parts[group]
	}
	for _, ts := range body.Timeseries {
		k := keyOf(r, ts.Labels)
		if len(ts.Samples)+len(ts.Histograms)+len(ts.Exemplars) == 0 {
			p := of(r.Placement.Index(k, math.MaxInt64))
			p.Timeseries = append(p.Timeseries, ts)
			continue
		}
		pieces := map[int]*prompb.TimeSeries{}
		piece := func(ms int64) *prompb.TimeSeries {
			group := r.Placement.Index(k, ms)
			if pieces[group] == nil {
				pieces[group] = &prompb.TimeSeries{Labels: ts.Labels}
			}
			return pieces[group]
		}
		for _, s := range ts.Samples {
			p := piece(s.Timestamp)
			p.Samples = append(p.Samples, s)
		}
		for _, h := range ts.Histograms {
			p := piece(h.Timestamp)
			p.Histograms = append(p.Histograms, h)
		}
		for _, e := range ts.Exemplars {
			p := piece(e.Timestamp)
			p.Exemplars = append(p.Exemplars, e)
		}
		for group, ts := range pieces {
			of(group).Timeseries = append(of(group).Timeseries, *ts)
		}
	}
	if len(body.Metadata) > 0 {
		groups := []int{r.Placement.Index(r.Key, math.MaxInt64)}
		if r.Placement.Spread() == placement.ByLabels {
			groups = nil
			for i, name := range r.Placement.Groups() {
				if slices.Contains(r.Placement.Last(), name) {
					groups = append(groups, i)
				}
			}
		}
		for _, group := range groups {
			of(group).Metadata = body.Metadata
		}
	}
	return parts
}

// wanted is divide in words, and without what is empty.
func wanted(r *Rule, body *prompb.WriteRequest) map[int]string {
	all := map[int]string{}
	for group, part := range divide(r, body) {
		all[group] = part.String()
	}
	return all
}

func splitBody(t testing.TB, r *Rule, schema Schema, raw []byte) map[int][]byte {
	t.Helper()
	body := snappy.Encode(nil, raw)
	parts, err := r.Split(schema, body, unbounded)
	if errors.Is(err, ErrDamaged) {
		return nil
	}
	require.NoError(t, err)
	require.NotEmpty(t, parts)
	again, err := r.Split(schema, body, unbounded)
	require.NoError(t, err)
	all := map[int][]byte{}
	for i := range parts {
		require.Equal(t, parts[i].Body, again[i].Body, "the same whenever it is split")
		require.NotContains(t, all, parts[i].Group)
		decoded, err := snappy.Decode(nil, parts[i].Body)
		require.NoError(t, err)
		all[parts[i].Group] = decoded
		parts[i].Release()
		again[i].Release()
	}
	return all
}

func TestRandomBodiesV1(t *testing.T) {
	for name, r := range rules(t) {
		t.Run(name, func(t *testing.T) {
			g := generator{rand.New(rand.NewPCG(1, 2))}
			for range 200 {
				body := g.body()
				raw, err := body.Marshal()
				require.NoError(t, err)
				got := map[int]string{}
				for group, decoded := range splitBody(t, &r, V1, raw) {
					var part prompb.WriteRequest
					require.NoError(t, part.Unmarshal(decoded))
					got[group] = part.String()
				}
				if len(body.Timeseries)+len(body.Metadata) > 0 {
					require.Equal(t, wanted(&r, body), got)
				}
			}
		})
	}
}

func TestRandomBodiesV2(t *testing.T) {
	for name, r := range rules(t) {
		t.Run(name, func(t *testing.T) {
			g := generator{rand.New(rand.NewPCG(3, 4))}
			for range 200 {
				body := g.body()
				body.Metadata = nil
				raw, err := g.toV2(body).Marshal()
				require.NoError(t, err)
				got := map[int]string{}
				for group, decoded := range splitBody(t, &r, V2, raw) {
					var part writev2.Request
					require.NoError(t, part.Unmarshal(decoded))
					got[group] = fromV2(t, &part).String()
				}
				if len(body.Timeseries) > 0 {
					require.Equal(t, wanted(&r, body), got)
				}
			}
		})
	}
}

// A part has the symbols that it needs, each once, and no other.
func TestSymbolsOfParts(t *testing.T) {
	r := rule(t, placement.ByLabels, names(4))
	g := generator{rand.New(rand.NewPCG(5, 6))}
	for range 50 {
		body := g.body()
		raw, err := g.toV2(body).Marshal()
		require.NoError(t, err)
		parts := splitBody(t, &r, V2, raw)
		if len(parts) < 2 {
			continue
		}
		for _, decoded := range parts {
			var part writev2.Request
			require.NoError(t, part.Unmarshal(decoded))
			require.Empty(t, part.Symbols[0])
			used := make([]bool, len(part.Symbols))
			used[0] = true
			for _, ts := range part.Timeseries {
				for _, ref := range ts.LabelsRefs {
					used[ref] = true
				}
				for _, e := range ts.Exemplars {
					for _, ref := range e.LabelsRefs {
						used[ref] = true
					}
				}
				used[ts.Metadata.HelpRef], used[ts.Metadata.UnitRef] = true, true
			}
			require.NotContains(t, used, false)
		}
	}
}

// What cannot be told apart goes to no group: a forwarder might read more of it.
func TestDamagedBodies(t *testing.T) {
	two, moves := rule(t, placement.ByLabels, names(2)), rule(t, placement.ByLabels, []string{"a"}, []string{"b"})
	for name, test := range map[string]struct {
		rule   Rule
		schema Schema
		raw    string
	}{
		"a cut off field":                  {two, V1, "\x0a\x05abc"},
		"series that is a number":          {two, V1, "\x08\x05"},
		"metadata that is a number":        {two, V1, "\x18\x05"},
		"a damaged series":                 {two, V1, "\x0a\x02\x0a\x05"},
		"a sample that is a number":        {two, V1, "\x0a\x02\x10\x05"},
		"a damaged sample before the last": {moves, V1, "\x0a\x04\x12\x02\x0a\x05"},
		"a timestamp that is none":         {moves, V1, "\x0a\x04\x12\x02\x12\x00"},
		"a histogram that is a number":     {moves, V2, "\x22\x00\x2a\x02\x18\x05"},
		"a first symbol that is not empty": {two, V2, "\x22\x01a\x2a\x00"},
		"a symbol that is a number":        {two, V2, "\x20\x05"},
		"references that are cut off":      {two, V2, "\x22\x00\x2a\x03\x0a\x01\x80"},
		"a reference of eight bytes":       {two, V2, "\x22\x00\x2a\x09\x0912345678"},
		"a series that is cut off":         {two, V2, "\x22\x00\x2a\x02\x12\x05"},
		"a series of 2.0 that is a number": {two, V2, "\x28\x00"},
	} {
		_, err := test.rule.Split(test.schema, snappy.Encode(nil, []byte(test.raw)), unbounded)
		require.ErrorIs(t, err, ErrDamaged, name)
	}
	for _, body := range []string{"", "\x80", "\xff\xff\xff\xff\x0f\x00", "\x05\x00a"} {
		_, err := two.Split(V1, []byte(body), unbounded)
		require.ErrorIs(t, err, ErrDamaged)
	}
}

// What has no series goes to one group as it is, which says what is wrong.
func TestBodiesWithoutSeries(t *testing.T) {
	r := rule(t, placement.ByLabels, names(2))
	for _, raw := range []string{"", "\x2a\x02\x0a\x00"} {
		body := snappy.Encode(nil, []byte(raw))
		parts, err := r.Split(V1, body, unbounded)
		require.NoError(t, err)
		require.Equal(t, []Part{{Group: r.last(), Body: body}}, parts)
	}
}

// A label that cannot be read is its series' fault alone, which a forwarder refuses: it does
// not take its neighbours to another group.
func TestLabelThatIsDamaged(t *testing.T) {
	r := rule(t, placement.ByLabels, names(8))
	g := generator{rand.New(rand.NewPCG(15, 16))}
	body := g.large(50)
	raw, err := body.Marshal()
	require.NoError(t, err)
	damaged := "\x0a\x08\x0a\x02\x0a\x05\x12\x02\x10\x01"
	bad := r.Placement.Index(placement.KeyOf("", ""), 1)
	var series prompb.WriteRequest
	require.Error(t, series.Unmarshal([]byte(damaged)))
	got := map[int]string{}
	for group, decoded := range splitBody(t, &r, V1, append([]byte(damaged), raw...)) {
		if group == bad {
			require.Contains(t, string(decoded), damaged)
			decoded = decoded[len(damaged):]
		}
		var part prompb.WriteRequest
		require.NoError(t, part.Unmarshal(decoded))
		got[group] = part.String()
	}
	require.Equal(t, wanted(&r, body), got)
}

// References that point nowhere do so in a part too: its series are refused, and no others.
func TestReferencesThatPointNowhere(t *testing.T) {
	r := rule(t, placement.ByLabels, names(8))
	body := &writev2.Request{Symbols: []string{"", "job", "instance"}}
	for i := range 40 {
		body.Symbols = append(body.Symbols, fmt.Sprint("host-", i))
		body.Timeseries = append(body.Timeseries, writev2.TimeSeries{LabelsRefs: []uint32{2, uint32(3 + i)}, Samples: []writev2.Sample{{Timestamp: 1}}})
	}
	body.Timeseries[7].LabelsRefs = append(body.Timeseries[7].LabelsRefs, 1, 43)
	body.Timeseries[9].Metadata.HelpRef = 1 << 30
	raw, err := body.Marshal()
	require.NoError(t, err)
	nowhere := 0
	parts := splitBody(t, &r, V2, raw)
	require.Greater(t, len(parts), 2)
	for _, decoded := range parts {
		var part writev2.Request
		require.NoError(t, part.Unmarshal(decoded))
		for _, ts := range part.Timeseries {
			for _, ref := range append(ts.LabelsRefs, ts.Metadata.HelpRef) {
				if int(ref) >= len(part.Symbols) {
					nowhere++
				}
			}
		}
	}
	require.Equal(t, 2, nowhere)
}

// What goes to one group alone is passed on as it is.
func TestWholeBodies(t *testing.T) {
	r := rule(t, placement.ByLabels, names(8))
	g := generator{rand.New(rand.NewPCG(7, 8))}
	one := &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{g.series(), g.series()}}
	one.Timeseries[1].Labels = one.Timeseries[0].Labels
	families := &prompb.WriteRequest{Metadata: []prompb.MetricMetadata{{MetricFamilyName: "up"}}}
	for _, test := range []struct {
		body  *prompb.WriteRequest
		parts int
	}{{one, 1}, {families, 8}} {
		raw, err := test.body.Marshal()
		require.NoError(t, err)
		body := snappy.Encode(nil, raw)
		parts, err := r.Split(V1, body, unbounded)
		require.NoError(t, err)
		require.Len(t, parts, test.parts)
		for i := range parts {
			require.Same(t, &body[0], &parts[i].Body[0])
		}
		require.Zero(t, Held(parts))
	}
}

// Nothing is taken that was not granted, and what was refused ends the splitting.
func TestMemoryIsGranted(t *testing.T) {
	r := rule(t, placement.ByLabels, names(4), names(5))
	g := generator{rand.New(rand.NewPCG(9, 10))}
	refused := errors.New("refused")
	for schema, marshal := range map[Schema]func(*prompb.WriteRequest) ([]byte, error){
		V1: (*prompb.WriteRequest).Marshal,
		V2: func(b *prompb.WriteRequest) ([]byte, error) { return g.toV2(b).Marshal() },
	} {
		body := g.large(20_000)
		raw, err := marshal(body)
		require.NoError(t, err)
		compressed := snappy.Encode(nil, raw)
		var asked []int64
		parts, err := r.Split(schema, compressed, func(n int64) error { asked = append(asked, n); return nil })
		require.NoError(t, err)
		require.True(t, slices.IsSorted(asked))
		held := Held(parts)
		require.Positive(t, held)
		require.GreaterOrEqual(t, asked[len(asked)-1], held+int64(len(raw)), "the parts are in what was asked for")
		for i := range parts {
			parts[i].Release()
		}
		for _, most := range []int64{0, asked[0] - 1, asked[0], held + int64(len(raw))} {
			_, err := r.Split(schema, compressed, func(n int64) error {
				if n > most {
					return refused
				}
				return nil
			})
			require.ErrorIs(t, err, refused, "%d bytes", most)
		}
	}
}

func FuzzSplit(f *testing.F) {
	g := generator{rand.New(rand.NewPCG(11, 12))}
	all := rules(f)
	kinds := slices.Sorted(maps.Keys(all))
	for which := range kinds {
		body := g.body()
		v1, err := body.Marshal()
		require.NoError(f, err)
		v2, err := g.toV2(body).Marshal()
		require.NoError(f, err)
		f.Add(uint8(which), true, v1)
		f.Add(uint8(which), false, v2)
	}
	f.Fuzz(func(t *testing.T, which uint8, first bool, raw []byte) {
		r := all[kinds[int(which)%len(kinds)]]
		schema := V2
		if first {
			schema = V1
		}
		parts := splitBody(t, &r, schema, raw)
		want, ok := seriesOf(schema, raw)
		if !ok || parts == nil {
			return // Which of the parts is wrong is as it may be.
		}
		got := 0
		for _, decoded := range parts {
			n, ok := seriesOf(schema, decoded)
			require.True(t, ok)
			got += n
		}
		require.GreaterOrEqual(t, got, want)
	})
}

// seriesOf counts the series of a body that Prometheus' own code reads.
func seriesOf(schema Schema, raw []byte) (int, bool) {
	if schema == V1 {
		var body prompb.WriteRequest
		err := body.Unmarshal(raw)
		return len(body.Timeseries), err == nil
	}
	var body writev2.Request
	err := body.Unmarshal(raw)
	return len(body.Timeseries), err == nil
}

// BenchmarkSplit is of 2000 series with a sample each, of targets with so many each. Its time
// is to be seen beside that of a sample at a forwarder.
func BenchmarkSplit(b *testing.B) {
	const series = 2000
	for _, ofTarget := range []int{10, 250} {
		body := targets(generator{rand.New(rand.NewPCG(13, 14))}, series, ofTarget)
		v1, err := body.Marshal()
		require.NoError(b, err)
		v2, err := plainV2(body).Marshal()
		require.NoError(b, err)
		for schema, raw := range map[Schema][]byte{V1: v1, V2: v2} {
			compressed := snappy.Encode(nil, raw)
			for _, n := range []int{1, 2, 4, 8} {
				for name, r := range map[string]Rule{"": rule(b, placement.ByLabels, names(n)), ", one added": rule(b, placement.ByLabels, names(n), names(n+1))} {
					b.Run(fmt.Sprintf("v%d, targets of %d, %d groups%s", schema, ofTarget, n, name), func(b *testing.B) {
						b.ReportAllocs()
						before := cpu(b)
						for b.Loop() {
							parts, err := r.Split(schema, compressed, unbounded)
							if err != nil {
								b.Fatal(err)
							}
							for i := range parts {
								parts[i].Release()
							}
						}
						b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N)/series, "cpu-ns/sample")
					})
				}
			}
		}
	}
}

// cpu is the time of processors that the process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// usual are labels as exporters of a node have them.
func usual(i int) []prompb.Label {
	return []prompb.Label{
		{Name: "__name__", Value: fmt.Sprintf("http_server_request_duration_seconds_bucket_%d", i%100)},
		{Name: "cluster", Value: "production-eu-west-1"}, {Name: "code", Value: "200"},
		{Name: "handler", Value: fmt.Sprintf("/api/v1/resource/%d", i%10)}, {Name: "instance", Value: fmt.Sprintf("10.0.%d.%d:9090", i/250, i/10%250)},
		{Name: "job", Value: "api-server"}, {Name: "le", Value: fmt.Sprint(i % 10)}, {Name: "namespace", Value: "default"},
		{Name: "pod", Value: fmt.Sprintf("api-server-7d8f9c6b5-%d", i/10)}, {Name: "region", Value: "eu-west-1"},
	}
}

// targets is a body in which so many series of a target follow each other, as they are scraped:
// ten of a family, and then the next.
func targets(g generator, series, ofTarget int) *prompb.WriteRequest {
	body := &prompb.WriteRequest{}
	for i := range series {
		labels, family, target := usual(i), usual(i%ofTarget/10), usual(i/ofTarget*10)
		labels[0], labels[3] = family[0], family[3] // name and handler
		labels[4], labels[8] = target[4], target[8] // instance and pod
		body.Timeseries = append(body.Timeseries, prompb.TimeSeries{Labels: labels, Samples: []prompb.Sample{{Timestamp: 1e12, Value: g.Float64()}}})
	}
	return body
}
