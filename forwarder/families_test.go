package forwarder

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/units"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/segment"
)

// familiesBody is a request that says something of families: one of 1.0 that has
// nothing else, or one of 2.0 with a series for each.
func familiesBody(t testing.TB, schema linkv1.Schema, at int64, families ...prompb.MetricMetadata) []byte {
	t.Helper()
	if schema == v1 {
		b, err := (&prompb.WriteRequest{Metadata: families}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return compress(b)
	}
	var series []ts
	for i := range families {
		one := one(1, at, "__name__", families[i].MetricFamilyName)
		one.metadata = &families[i]
		series = append(series, one)
	}
	return bodyOf(t, v2, series...)
}

// gauges are the metadata of families that share a help text.
func gauges(prefix string, n int, help string) []prompb.MetricMetadata {
	var all []prompb.MetricMetadata
	for i := range n {
		all = append(all, prompb.MetricMetadata{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: fmt.Sprint(prefix, i), Help: help})
	}
	return all
}

// metadata is all that the state holds, by family.
func (r *running) metadata() map[string]segment.Metadata {
	r.t.Helper()
	found := map[string]segment.Metadata{}
	for _, m := range r.appender.state.head.Metadata() {
		found[m.Family] = m
	}
	return found
}

// TestMetadataLimits has as much metadata as is allowed, and then more: that is
// refused by the name of its flag, what is known can still be changed, and the
// samples are stored in any case.
func TestMetadataLimits(t *testing.T) {
	const help = "A text."
	each := len("a0") + len(help)
	for _, test := range []struct {
		limit  string
		change func(*Config)
	}{
		{flagFamilies, func(c *Config) { c.MaxFamilies = 3 }},
		{flagMetadataBytes, func(c *Config) { c.MetadataBytes = units.Base2Bytes(3*each + each/2) }},
	} {
		for _, schema := range []linkv1.Schema{v1, v2} {
			t.Run(fmt.Sprint(test.limit, "/", schema), func(t *testing.T) {
				c := testConfig(t.TempDir())
				test.change(&c)
				r := start(t, c)
				r.sender().mustStore(schema, familiesBody(t, schema, 5, gauges("a", 3, help)...))
				for i := range 2 { // the second time after a restart
					s := r.sender()
					v := s.send(schema, familiesBody(t, schema, int64(6+i), gauges("b", 1, help)...))
					if v.GetCode() != invalid || len(v.GetErrors()) != 1 || !strings.Contains(v.GetErrors()[0], test.limit) || !strings.Contains(v.GetErrors()[0], `"b0"`) {
						t.Errorf("verdict: %v", v)
					}
					if schema == v2 && v.GetSamplesWritten() != 1 {
						t.Errorf("%d samples were stored with it", v.GetSamplesWritten())
					}
					if got := testutil.ToFloat64(r.in.metrics.overLimit.WithLabelValues(strings.TrimPrefix(test.limit, "--limit."))); got != 1 {
						t.Errorf("%v counted", got)
					}
					s.mustStore(schema, familiesBody(t, schema, int64(10+i), gauges("a", 1, fmt.Sprint("Changed", i)[:len(help)])...))
					if n := len(r.metadata()); n != 3 {
						t.Errorf("metadata of %d families, want 3", n)
					}
					r.stop()
					r = start(t, c)
				}
			})
		}
	}
}

// TestLongMetadata cuts help texts, and refuses units and names.
func TestLongMetadata(t *testing.T) {
	c := testConfig(t.TempDir())
	c.Limits.MetadataBytes, c.Limits.ValueBytes = 10, 20
	r := start(t, c)
	s := r.sender()
	long := prompb.MetricMetadata{MetricFamilyName: "f", Help: strings.Repeat("ä", 6)}
	atLimit := prompb.MetricMetadata{MetricFamilyName: "g", Help: strings.Repeat("h", 10), Unit: strings.Repeat("u", 10)}
	for i, schema := range []linkv1.Schema{v1, v2} {
		s.mustStore(schema, familiesBody(t, schema, int64(5+i), long, atLimit))
		if got := testutil.ToFloat64(r.in.metrics.overLimit.WithLabelValues("metadata-length")); got != float64(1+i) {
			t.Errorf("%v texts counted, want %d", got, 1+i)
		}
	}
	want := map[string]segment.Metadata{
		"f": {Family: "f", Help: strings.Repeat("ä", 5)},
		"g": {Family: "g", Help: atLimit.Help, Unit: atLimit.Unit},
	}
	if diff := cmp.Diff(want, r.metadata()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if n := len(r.blocks()[1].Metadata); n != 0 {
		t.Errorf("the same was stored %d times more", n)
	}
	unit := prompb.MetricMetadata{MetricFamilyName: "u", Unit: strings.Repeat("u", 11)}
	for i, schema := range []linkv1.Schema{v1, v2} {
		v := s.send(schema, familiesBody(t, schema, int64(8+i), unit))
		if v.GetCode() != invalid || len(v.GetErrors()) != 1 || !strings.Contains(v.GetErrors()[0], "--limit.metadata-length") {
			t.Errorf("a long unit: %v", v)
		}
	}
	name := prompb.MetricMetadata{MetricFamilyName: strings.Repeat("n", 21)}
	v := s.send(v1, familiesBody(t, v1, 0, name))
	if v.GetCode() != invalid || len(v.GetErrors()) != 1 || !strings.Contains(v.GetErrors()[0], "--limit.label-value-length") {
		t.Errorf("a long name: %v", v)
	}
	if diff := cmp.Diff(want, r.metadata()); diff != "" {
		t.Errorf("after the refusals, want -, got +:\n%s", diff)
	}
}

// TestFamilyOnceABlock says much of one family in one request: only the last
// word is stored, so that what a block takes is bounded by what may be held.
func TestFamilyOnceABlock(t *testing.T) {
	for _, schema := range []linkv1.Schema{v1, v2} {
		r := start(t, testConfig(t.TempDir()))
		said := append(gauges("a", 1, "First."), gauges("b", 1, "Other.")...)
		said = append(said, gauges("a", 1, "Second.")...)
		r.sender().mustStore(schema, familiesBody(t, schema, 5, said...))
		want := []segment.Metadata{{Family: "a0", Type: 2, Help: "Second."}, {Family: "b0", Type: 2, Help: "Other."}}
		if diff := cmp.Diff(want, r.blocks()[0].Metadata); diff != "" {
			t.Errorf("want -, got +:\n%s", diff)
		}
	}
}

// TestLogWithTooMuchMetadata opens a log that was filled while the limits were
// far above what a frame can hold. It rotates, and what is said again is cut.
func TestLogWithTooMuchMetadata(t *testing.T) {
	const families, requests, help = 30, 2, 1 << 20
	if families*requests*help <= segment.MaxPayload {
		t.Fatal("that fits into a frame")
	}
	for _, schema := range []linkv1.Schema{v1, v2} {
		t.Run(schema.String(), func(t *testing.T) {
			c := testConfig(t.TempDir())
			c.SegmentSize = 1
			full, most := c, c.Limits.MetadataBytes
			full.Limits.MetadataBytes, full.MetadataBytes = help, 1<<30
			r := start(t, full)
			text := strings.Repeat("h", help)
			for i := range requests {
				if v := r.sender().send(schema, familiesBody(t, schema, 5, gauges(fmt.Sprint("f", i, "_"), families, text)...)); v.GetCode() != ok {
					t.Fatalf("request %d: %v", i, v)
				}
			}
			for range 2 { // the second time after a restart
				r.stop()
				r = start(t, c)
				s := r.sender()
				l, _ := r.appender.log()
				for i, before := int64(0), len(l.Segments()); len(l.Segments()) == before; i++ {
					s.mustStore(v1, bodyOf(t, v1, one(float64(i), time.Now().UnixMilli(), "__name__", "up", "a", random(1<<14))))
				}
				if n := len(r.metadata()); n != families*requests {
					t.Errorf("metadata of %d families", n)
				}
			}
			for i := range requests {
				again := append(gauges(fmt.Sprint("f", i, "_"), families, text), gauges("x", 1, "")...) // not the same request
				r.sender().mustStore(schema, familiesBody(t, schema, 6, again...))
			}
			for _, m := range r.metadata() {
				if len(m.Help) > most {
					t.Fatalf("%s has a help text of %d bytes, the limit is %d", m.Family, len(m.Help), most)
				}
			}
			if all := (families*requests + 1) * (most + 10); r.appender.state.families.bytes > all {
				t.Errorf("%d bytes are counted, there can be %d", r.appender.state.families.bytes, all)
			}
		})
	}
}

// TestIdleFamilies forgets the metadata of families at a rotation: of those that
// have no live series, and of those without any that were not said again.
func TestIdleFamilies(t *testing.T) {
	c := testConfig(t.TempDir())
	c.SegmentSize, c.SeriesIdle = 1, time.Hour
	var ahead atomic.Int64
	clock := func(f *Forwarder) {
		f.appender.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}
	r := start(t, c, clock)
	s := r.sender()
	said := func(name string, kind prompb.MetricMetadata_MetricType) prompb.MetricMetadata {
		return prompb.MetricMetadata{MetricFamilyName: name, Type: kind, Help: "Text."}
	}
	all := []prompb.MetricMetadata{
		said("busy", prompb.MetricMetadata_GAUGE), said("d", prompb.MetricMetadata_HISTOGRAM), said("requests", prompb.MetricMetadata_COUNTER),
		said("idle", prompb.MetricMetadata_GAUGE), said("unheard", prompb.MetricMetadata_GAUGE), said("heard", prompb.MetricMetadata_GAUGE),
	}
	s.mustStore(v1, familiesBody(t, v1, 0, all...))
	s.mustStore(v1, bodyOf(t, v1, one(1, 5, "__name__", "idle")))
	at := int64(5)
	pass := func(d time.Duration) {
		ahead.Add(int64(d))
		for range 20 { // a segment ends when its blocks take as much as its keyframe
			at++
			s.mustStore(v1, bodyOf(t, v1, one(1, at, "__name__", "busy"), one(1, at, "__name__", "d_bucket", "le", "1"), one(1, at, "__name__", "requests_total")))
		}
	}
	families := func() string {
		var names []string
		for _, m := range r.appender.state.head.Metadata() {
			names = append(names, m.Family)
		}
		return strings.Join(names, " ")
	}
	pass(50 * time.Minute)
	if want := "busy d heard idle requests unheard"; families() != want {
		t.Errorf("after 50 minutes there is %s, want %s", families(), want)
	}
	s.mustStore(v1, familiesBody(t, v1, 0, said("heard", prompb.MetricMetadata_GAUGE), said("heard", prompb.MetricMetadata_GAUGE)))
	pass(20 * time.Minute)
	if want := "busy d heard requests"; families() != want {
		t.Errorf("after 70 minutes there is %s, want %s", families(), want)
	}
	// What was forgotten is news.
	s.mustStore(v1, familiesBody(t, v1, 0, said("heard", prompb.MetricMetadata_GAUGE), said("idle", prompb.MetricMetadata_GAUGE)))
	blocks := r.blocks()
	if m := blocks[len(blocks)-1].Metadata; len(m) != 1 || m[0].Family != "idle" {
		t.Errorf("said again: %v", m)
	}
	r.stop()
	r = start(t, c, clock)
	s = r.sender()
	if want := "busy d heard idle requests"; families() != want {
		t.Errorf("after a restart there is %s, want %s", families(), want)
	}
	for range 3 {
		pass(50 * time.Minute)
	}
	if want := "busy d requests"; families() != want {
		t.Errorf("in the end there is %s, want %s", families(), want)
	}
	if n := len(r.appender.state.families.known); n != 3 {
		t.Errorf("%d families are known", n)
	}
}
