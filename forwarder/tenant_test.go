package forwarder

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/segment"
)

// ofTenantByHand gives series the tenant, in place of what they have under its label.
func ofTenantByHand(tenant string, series []ts) []ts {
	if tenant == "" {
		return series
	}
	var owned []ts
	for _, s := range series {
		var labels []string
		for i := 0; i < len(s.labels); i += 2 {
			if s.labels[i] != tenantLabel {
				labels = append(labels, s.labels[i], s.labels[i+1])
			}
		}
		s.labels = append(labels, tenantLabel, tenant)
		owned = append(owned, s)
	}
	return owned
}

// randomSeries are such as senders of any tenant have: some alike, some that claim a
// tenant, some that are refused.
func randomSeries(random *rand.Rand, schema linkv1.Schema, at int64) []ts {
	var series []ts
	for range 1 + random.IntN(12) {
		s := ts{labels: []string{"__name__", fmt.Sprint("m", random.IntN(6))}}
		for _, name := range []string{"a", tenantLabel, "z", tenantLabel} {
			if random.IntN(3) == 0 {
				s.labels = append(s.labels, name, []string{"", "x", "team-a"}[random.IntN(3)])
			}
		}
		if random.IntN(4) == 0 { // Neither sorted, nor with a name perhaps.
			s.labels = append(s.labels[2:], s.labels[:2*random.IntN(2)]...)
		}
		for range 1 + random.IntN(2) {
			s.samples = append(s.samples, prompb.Sample{Value: float64(random.IntN(3)), Timestamp: at + int64(random.IntN(3))})
		}
		if random.IntN(3) == 0 {
			s.histograms = append(s.histograms, prompb.FromIntHistogram(at, good()))
			s.exemplars = append(s.exemplars, prompb.Exemplar{Labels: []prompb.Label{{Name: tenantLabel, Value: "trace"}}, Value: 1, Timestamp: at})
		}
		if schema == v2 && random.IntN(3) == 0 {
			s.metadata = &prompb.MetricMetadata{Type: prompb.MetricMetadata_COUNTER, Help: fmt.Sprint("help ", random.IntN(2))}
		}
		series = append(series, s)
	}
	return series
}

// TestTenantIsAsIfItHadBeenSent sends the same to two forwarders, as batches of tenants to
// one and with the label in the body to the other. Their blocks are the same, across
// restarts, too.
func TestTenantIsAsIfItHadBeenSent(t *testing.T) {
	const seeds, restarts, requests = 15, 2, 20
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			batches, byHand := testConfig(t.TempDir()), testConfig(t.TempDir())
			at := int64(1000)
			for range 1 + restarts {
				one, other := start(t, batches), start(t, byHand)
				oneSender, otherSender := one.sender(), other.sender()
				for range requests {
					at += int64(random.IntN(2))
					schema := []linkv1.Schema{v1, v2}[random.IntN(2)]
					tenant := []string{"", "team-a", "team-b", "x"}[random.IntN(4)]
					series := randomSeries(random, schema, at)
					// An own series, so that no request repeats another in one form alone.
					series = append(series, ts{labels: []string{"__name__", "round"}, samples: []prompb.Sample{{Value: random.Float64(), Timestamp: at}}})
					got := oneSender.sendOf(tenant, schema, bodyOf(t, schema, series...))
					want := otherSender.sendOf("", schema, bodyOf(t, schema, ofTenantByHand(tenant, series)...))
					if diff := cmp.Diff(toldBy(want), toldBy(got)); diff != "" {
						t.Fatalf("verdict, by hand -, of a tenant +:\n%s", diff)
					}
				}
				if diff := cmp.Diff(contents(other.blocks()), contents(one.blocks())); diff != "" {
					t.Fatalf("blocks, by hand -, of a tenant +:\n%s", diff)
				}
				_, _ = oneSender.conn.Close(), otherSender.conn.Close() // so that nobody is waited for
				one.stop()
				other.stop()
			}
		})
	}
}

// contents are all that blocks say, but for what is not the same in two logs.
func contents(blocks []*segment.Block) []string {
	var all []string
	for _, b := range blocks {
		var s strings.Builder
		fmt.Fprintf(&s, "%d", b.Sequence)
		for i, ref := range b.Series.Refs {
			fmt.Fprintf(&s, "\n%d", ref)
			for _, l := range b.Series.Row(i) {
				fmt.Fprintf(&s, " %d:%v", l, b.Series.Labels[l])
			}
		}
		for x := range b.Samples.All() {
			fmt.Fprintf(&s, "\n%v", x)
		}
		fmt.Fprintf(&s, "\n%v\n%v\n%v", b.Histograms, b.Exemplars, b.Metadata)
		all = append(all, s.String())
	}
	return all
}

// TestTenantsShareNothing sends the same bytes for several tenants and for none: those
// are requests, and series, of their own. Each is recognised when it comes again, after a
// restart, too.
func TestTenantsShareNothing(t *testing.T) {
	tenants := []string{"", "a", "b"}
	for _, schema := range []linkv1.Schema{v1, v2} {
		t.Run(schema.String(), func(t *testing.T) {
			c := testConfig(t.TempDir())
			series := []ts{one(1, 5, "__name__", "up", tenantLabel, "theirs"), one(2, 5, "__name__", "down"), one(3, 5, "a", "nameless")}
			series[0].metadata = &prompb.MetricMetadata{Type: prompb.MetricMetadata_GAUGE, Help: "is there"}
			body := bodyOf(t, schema, series...)
			want := told{invalid, 2, 0, 0, 1}
			for restart := range 2 {
				r := start(t, c)
				s := r.sender()
				for range 2 {
					for _, tenant := range tenants {
						if diff := cmp.Diff(want, toldBy(s.sendOf(tenant, schema, body))); diff != "" {
							t.Errorf("tenant %q: want -, got +:\n%s", tenant, diff)
						}
					}
				}
				got := slices.DeleteFunc(entries(r.blocks()), func(line string) bool { return !strings.HasSuffix(line, " @5") })
				if diff := cmp.Diff([]string{
					"__name__=down, 2 @5", "__name__=down,job=a, 2 @5", "__name__=down,job=b, 2 @5",
					"__name__=up,job=a, 1 @5", "__name__=up,job=b, 1 @5", "__name__=up,job=theirs, 1 @5",
				}, got); diff != "" {
					t.Errorf("stored, want -, got +:\n%s", diff)
				}
				if n := testutil.ToFloat64(r.in.metrics.repeated); n != float64(len(tenants)*(1+restart)) {
					t.Errorf("%v requests were recognised", n)
				}
				// The series are known, but for one of nobody's.
				before, introduced := len(r.blocks()), 1-restart
				for i, tenant := range tenants {
					for round := range 3 {
						at := int64(10 + 10*round + 100*restart)
						s.sendOf(tenant, schema, bodyOf(t, schema, one(float64(i), at, "__name__", "up"), one(float64(i), at, "__name__", "down")))
					}
				}
				for _, b := range r.blocks()[before:] {
					introduced -= b.Series.Len()
					if b.Samples.Len() != 2 {
						t.Errorf("a block of %d samples", b.Samples.Len())
					}
				}
				if introduced != 0 {
					t.Errorf("%d new series too few", introduced)
				}
				_ = s.conn.Close()
				r.stop()
			}
		})
	}
}

// TestRaisedLimitOfATenant repeats requests of two tenants under a higher limit: what
// is stored now of each is its own.
func TestRaisedLimitOfATenant(t *testing.T) {
	c := testConfig(t.TempDir())
	body := bodyOf(t, v1, one(1, 5, "__name__", "short"), one(1, 5, "__name__", "long", "a", strings.Repeat("x", 40)))
	var want []string
	for i, most := range []int{30, 50} {
		c.Limits.ValueBytes = most
		r := start(t, c)
		s := r.sender()
		for _, tenant := range []string{"a", "b"} {
			v := toldBy(s.sendOf(tenant, v1, body))
			if i == 0 && v != (told{invalid, 1, 0, 0, 1}) || i == 1 && v != (told{ok, 2, 0, 0, 0}) {
				t.Errorf("limit %d, tenant %s: %v", most, tenant, v)
			}
			if i == 0 {
				want = append(want, "__name__=short,job="+tenant+", 1 @5", "__name__=long,a="+strings.Repeat("x", 40)+",job="+tenant+", 1 @5")
			}
		}
		if i == 1 {
			slices.Sort(want)
			if diff := cmp.Diff(want, entries(r.blocks())); diff != "" {
				t.Errorf("stored, want -, got +:\n%s", diff)
			}
		}
		_ = s.conn.Close()
		r.stop()
	}
}

// TestTenantIsRefused sends what no receiver should: nothing of it is stored.
func TestTenantIsRefused(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Limits.ValueBytes = 20
	r := start(t, c)
	s := r.sender()
	body := bodyOf(t, v1, one(1, 5, "__name__", "up"))
	for tenant, want := range map[string]string{
		"": "empty", "a|b": "several", "a b": "allowed", strings.Repeat("a", 21): "--limit.label-value-length",
	} {
		s.tenant = &linkv1.Label{Name: tenantLabel, Value: tenant}
		v := s.send(v1, body)
		if v.GetCode() != invalid || v.GetSamplesWritten() != 0 || !strings.Contains(strings.Join(v.GetErrors(), ""), want) {
			t.Errorf("%q: %v", tenant, v)
		}
	}
	s.tenant = &linkv1.Label{Name: "__name__", Value: "a"}
	if v := s.send(v1, body); v.GetCode() != invalid {
		t.Errorf("%v", v)
	}
	if n := len(r.blocks()); n != 0 {
		t.Errorf("%d blocks", n)
	}
	if n := testutil.ToFloat64(r.in.metrics.overLimit.WithLabelValues("label-value-length")); n != 1 {
		t.Errorf("%v are over the limit", n)
	}
}

// TestMetadataHasNoTenant has tenants say the same of a family, and something else: what
// was said of a name last holds.
func TestMetadataHasNoTenant(t *testing.T) {
	for _, schema := range []linkv1.Schema{v1, v2} {
		r := start(t, testConfig(t.TempDir()))
		s := r.sender()
		for i, step := range []struct{ tenant, help string }{{"a", "one"}, {"b", "one"}, {"a", "another"}, {"", "third"}, {"b", "last"}} {
			if v := s.sendOf(step.tenant, schema, familiesBody(t, schema, int64(i), gauges("family", 1, step.help)...)); v.GetCode() != ok {
				t.Errorf("%v", v)
			}
		}
		_ = s.conn.Close()
		r.stop()
		if got := r.metadata(); len(got) != 1 || got["family0"].Help != "last" {
			t.Errorf("%s: %v", schema, got)
		}
	}
}
