package forwarder

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/segment"
)

// settled sends a request until the answer is not that it is to be sent again.
func (s *sender) settled(schema linkv1.Schema, body []byte) *linkv1.Verdict {
	s.t.Helper()
	var v *linkv1.Verdict
	eventually(s.t, "an answer", func() bool {
		v = s.send(schema, body)
		return v.GetCode() != linkv1.Code_CODE_UNAVAILABLE
	})
	return v
}

// entries are all that blocks hold, one line each, in order.
func entries(blocks []*segment.Block) []string {
	names := map[uint64]string{}
	var list []string
	for _, b := range blocks {
		for i, ref := range b.Series.Refs {
			for _, l := range b.Series.Row(i) {
				names[ref] += b.Series.Labels[l].Name + "=" + b.Series.Labels[l].Value + ","
			}
		}
		for s := range b.Samples.All() {
			list = append(list, fmt.Sprintf("%s %v @%d", names[s.Ref], s.Value, s.Timestamp))
		}
		for _, h := range b.Histograms {
			list = append(list, fmt.Sprintf("%s histogram of %d @%d", names[h.Ref], len(h.Data), h.Timestamp))
		}
		for _, x := range b.Exemplars {
			list = append(list, fmt.Sprintf("%s exemplar of %d", names[x.Ref], len(x.Data)))
		}
	}
	slices.Sort(list)
	return list
}

// TestRaisedLimit repeats a request, parts of which were refused because of limits,
// under others. What fits by then is stored, what was before is not stored again,
// and under the same limits nothing changes.
func TestRaisedLimit(t *testing.T) {
	histogram := prompb.FromIntHistogram(5, good())
	exemplar := func(n int) prompb.Exemplar {
		return prompb.Exemplar{Labels: []prompb.Label{{Name: "i", Value: strings.Repeat("x", n)}}, Value: 1, Timestamp: 5}
	}
	series := []ts{
		{
			labels:     []string{"__name__", "known"},
			samples:    []prompb.Sample{{Value: 1, Timestamp: 5}, {Value: 2, Timestamp: 6}},
			histograms: []prompb.Histogram{histogram}, exemplars: []prompb.Exemplar{exemplar(3), exemplar(30)},
		},
		one(1, 5, "__name__", "long", "a", strings.Repeat("x", 20)),
		one(1, 5, "__name__", "longer", "a", strings.Repeat("x", 40)),
		one(1, 5, "__name__", "wrong", "a", "\xff"),
	}
	short := func(c *Config) { c.Limits.ValueBytes, c.Limits.ExemplarRunes = 10, 10 }
	longer := func(c *Config) { c.Limits.ValueBytes, c.Limits.ExemplarRunes = 30, 10 }
	long := func(c *Config) { c.Limits.ValueBytes, c.Limits.ExemplarRunes = 50, 50 }
	steps := []struct {
		name   string
		limits func(*Config)
		want   told
		blocks int // that the request is in
		reread float64
	}{
		{"short", short, told{invalid, 2, 1, 1, 4}, 1, 0},
		{"short again", short, told{invalid, 2, 1, 1, 4}, 1, 0},
		{"longer", longer, told{invalid, 3, 1, 1, 3}, 2, 1},
		{"short once more", short, told{invalid, 3, 1, 1, 3}, 2, 0},
		{"long", long, told{invalid, 4, 1, 2, 1}, 3, 1},
		{"long again", long, told{invalid, 4, 1, 2, 1}, 3, 0},
	}
	for _, schema := range []linkv1.Schema{v1, v2} {
		t.Run(schema.String(), func(t *testing.T) {
			dir := t.TempDir()
			body := bodyOf(t, schema, series...)
			others := 0
			for _, step := range steps {
				c := testConfig(dir)
				step.limits(&c)
				r := start(t, c)
				s := r.sender()
				for i := range 3 {
					if diff := cmp.Diff(step.want, toldBy(s.settled(schema, body))); diff != "" {
						t.Errorf("%s, %d: verdict, want -, got +:\n%s", step.name, i, diff)
					}
					// What was stored is not the latest of its series any more.
					others++
					s.mustStore(schema, bodyOf(t, schema, one(1, int64(1000+others), "__name__", "known")))
				}
				if n := testutil.ToFloat64(r.in.metrics.reread); n != step.reread {
					t.Errorf("%s: read back %v times", step.name, n)
				}
				if n := len(r.blocks()); n != step.blocks+others {
					t.Errorf("%s: %d blocks besides the others'", step.name, n-others)
				}
				_ = s.conn.Close() // so that nobody is waited for
				r.stop()
			}
			r := start(t, testConfig(dir))
			// Under limits of which none has ever refused a part of it.
			whole := testConfig(t.TempDir())
			fresh := start(t, whole)
			fresh.sender().send(schema, body)
			want := entries(fresh.blocks())
			got := slices.DeleteFunc(entries(r.blocks()), func(line string) bool { return strings.Contains(line, "@10") })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("stored, want -, got +:\n%s", diff)
			}
		})
	}
}

// TestRaisedLimitOfLiveSeries has room for more series after a restart.
func TestRaisedLimitOfLiveSeries(t *testing.T) {
	c := testConfig(t.TempDir())
	body := bodyOf(t, v1, one(1, 5, "__name__", "a"), one(1, 5, "__name__", "b"), one(1, 5, "__name__", "c"))
	for i, want := range []told{{invalid, 1, 0, 0, 2}, {invalid, 2, 0, 0, 1}, {ok, 3, 0, 0, 0}} {
		c.MaxSeries = i + 1
		r := start(t, c)
		s := r.sender()
		for range 2 {
			if diff := cmp.Diff(want, toldBy(s.settled(v1, body))); diff != "" {
				t.Errorf("%d series, want -, got +:\n%s", c.MaxSeries, diff)
			}
		}
		if got := entries(r.blocks()); len(got) != i+1 || len(slices.Compact(got)) != i+1 {
			t.Errorf("%d series: %q", c.MaxSeries, got)
		}
		_ = s.conn.Close()
		r.stop()
	}
}

// TestRaisedLimitTooLate has requests of which it cannot be told any more what was
// stored: the answer stands.
func TestRaisedLimitTooLate(t *testing.T) {
	const many = 20 // a segment ends when its blocks take as much as its keyframe
	var ahead atomic.Int64
	clock := func(f *Forwarder) {
		f.appender.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}
	keepOn := func(s *sender, names ...string) {
		for i := range many {
			for _, name := range names {
				s.mustStore(v1, bodyOf(t, v1, one(3, int64(10+i), "__name__", name)))
			}
		}
	}
	var dir string
	for _, test := range []struct {
		name   string
		change func(*Config)
		before func(*sender)
		after  func(*sender)
		stored bool // the refused part
	}{
		{"nothing happened", func(*Config) {}, func(*sender) {}, func(*sender) {}, true},
		{"a part was another request's",
			func(*Config) {},
			func(s *sender) { s.mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "a"))) },
			func(s *sender) { keepOn(s, "a") }, false},
		{"a series was dropped since",
			func(c *Config) { c.SegmentSize, c.SeriesIdle = 1, time.Hour },
			func(*sender) {},
			func(s *sender) {
				ahead.Store(int64(2 * time.Hour))
				keepOn(s, "b")
				keepOn(s, "a")
			}, false},
		{"its segment is damaged",
			func(c *Config) { c.SegmentSize = 1 },
			func(*sender) {},
			func(s *sender) {
				keepOn(s, "a", "b")
				damageOldest(t, dir)
			}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ahead.Store(0)
			dir = t.TempDir()
			c := testConfig(dir)
			c.Limits.ValueBytes = 10
			test.change(&c)
			r := start(t, c, clock)
			s := r.sender()
			test.before(s)
			body := bodyOf(t, v1, one(1, 5, "__name__", "a"), one(2, 5, "__name__", "b"), one(1, 5, "__name__", "long", "a", strings.Repeat("x", 20)))
			want := told{invalid, 2, 0, 0, 1}
			if diff := cmp.Diff(want, toldBy(s.send(v1, body))); diff != "" {
				t.Fatalf("verdict, want -, got +:\n%s", diff)
			}
			test.after(s)
			_ = s.conn.Close()
			r.stop()
			before := r.appender.state.last
			c.Limits.ValueBytes = 30
			r = start(t, c, clock)
			blocks := uint64(0)
			if test.stored {
				want, blocks = told{ok, 3, 0, 0, 0}, 1
			}
			s = r.sender()
			for range 2 {
				if diff := cmp.Diff(want, toldBy(s.settled(v1, body))); diff != "" {
					t.Errorf("again, want -, got +:\n%s", diff)
				}
			}
			_ = s.conn.Close()
			r.stop()
			if n := r.appender.state.last; n != before+blocks {
				t.Errorf("%d blocks, before %d", n, before)
			}
		})
	}
}

// damageOldest changes a byte of the keyframe in the oldest of several segments.
func damageOldest(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*", "*.seg"))
	if err != nil || len(names) < 2 {
		t.Fatalf("segments %q: %v", names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	b[segment.HeaderSize+segment.FrameHeaderSize] ^= 1
	if err := os.WriteFile(names[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRaisedLimitAtOnce has many senders repeat requests at once. Each part is
// stored once, and who has to wait is told to come again.
func TestRaisedLimitAtOnce(t *testing.T) {
	const requests, times = 5, 8
	c := testConfig(t.TempDir())
	c.Limits.ValueBytes = 10
	var bodies [][]byte
	r := start(t, c)
	s := r.sender()
	for i := range requests {
		bodies = append(bodies, bodyOf(t, v1, one(1, int64(i), "__name__", "a"), one(1, int64(i), "__name__", "long", "a", strings.Repeat("x", 20))))
		if v := s.send(v1, bodies[i]); v.GetSamplesWritten() != 1 || v.GetRejected() != 1 {
			t.Fatalf("verdict: %v", v)
		}
	}
	r.stop()
	c.Limits.ValueBytes = 30
	r = start(t, c)
	s = r.sender()
	for range times {
		for _, body := range bodies {
			s.post(v1, body)
		}
	}
	for range requests * times {
		if v := s.verdict(); v.GetCode() != linkv1.Code_CODE_UNAVAILABLE {
			if diff := cmp.Diff(told{ok, 2, 0, 0, 0}, toldBy(v)); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		}
	}
	for _, body := range bodies {
		if diff := cmp.Diff(told{ok, 2, 0, 0, 0}, toldBy(s.settled(v1, body))); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
	}
	got := entries(r.blocks())
	if n := len(slices.Compact(slices.Clone(got))); len(got) != 2*requests || n != len(got) {
		t.Errorf("stored: %q", got)
	}
	for _, body := range bodies {
		s.post(v1, body) // and is stopped meanwhile
	}
	r.stop()
}

// TestRaisedLimitsAtRandom repeats requests of any content under one set of limits
// after another, and at last under such that let all of it in. At no time is more
// stored than the answer says, nor anything twice.
func TestRaisedLimitsAtRandom(t *testing.T) {
	const seeds, changes = 30, 4
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			schema := []linkv1.Schema{v1, v2}[random.IntN(2)]
			var series []ts
			for i := range 1 + random.IntN(12) {
				s := ts{labels: []string{"__name__", fmt.Sprint("m", i), "a", strings.Repeat("x", 1+random.IntN(40))}}
				for j := range 1 + random.IntN(3) {
					s.samples = append(s.samples, prompb.Sample{Value: random.Float64(), Timestamp: int64(j)})
					if random.IntN(3) == 0 {
						s.histograms = append(s.histograms, prompb.FromIntHistogram(int64(50+j), good()))
					}
					if random.IntN(3) == 0 {
						labels := []prompb.Label{{Name: "i", Value: fmt.Sprint(j, strings.Repeat("x", random.IntN(40)))}}
						s.exemplars = append(s.exemplars, prompb.Exemplar{Labels: labels, Value: 1, Timestamp: 5})
					}
				}
				series = append(series, s)
			}
			body := bodyOf(t, schema, series...)
			fresh := start(t, testConfig(t.TempDir()))
			fresh.sender().mustStore(schema, body)
			want := entries(fresh.blocks())

			c := testConfig(t.TempDir())
			later := int64(1000)
			for i := range changes + 1 {
				c.LimitConfig = DefaultLimitConfig()
				if i < changes {
					c.MaxSeries = 1 + random.IntN(14)
					c.Limits.ValueBytes, c.Limits.ExemplarRunes = 1+random.IntN(40), 1+random.IntN(40)
					c.Limits.Buckets = 1 + random.IntN(8)
				}
				r := start(t, c)
				s := r.sender()
				var v told
				for range 2 {
					v = toldBy(s.settled(schema, body))
					later++ // What was stored is not the latest any more.
					var others []ts
					for _, x := range series {
						others = append(others, one(1, later, x.labels...))
					}
					s.send(schema, bodyOf(t, schema, others...))
				}
				got := slices.DeleteFunc(entries(r.blocks()), func(line string) bool { return strings.Contains(line, "@10") })
				if n := v.Samples + v.Histograms + v.Exemplars; n != uint64(len(got)) {
					t.Errorf("step %d: %v, stored are %d", i, v, len(got))
				}
				if n := v.Samples + v.Histograms + v.Exemplars + v.Rejected; n != uint64(len(want)) {
					t.Errorf("step %d: %v, sent were %d", i, v, len(want))
				}
				rest := slices.Clone(want)
				for _, line := range got {
					at := slices.Index(rest, line)
					if at < 0 {
						t.Errorf("step %d: %s was not sent, or is there twice", i, line)
						continue
					}
					rest = slices.Delete(rest, at, at+1)
				}
				if i == changes && len(rest) > 0 {
					t.Errorf("not stored: %q", rest)
				}
				_ = s.conn.Close()
				r.stop()
			}
		})
	}
}
