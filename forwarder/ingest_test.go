package forwarder

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// steady are the requests by which a sender writes all its series once, in
// batches of 2000, as the first of two rounds. The second differs in time.
func steady(t testing.TB, schema linkv1.Schema, series, batch int, at int64) [][]byte {
	t.Helper()
	var bodies [][]byte
	for from := 0; from < series; from += batch {
		var batched []ts
		for i := from; i < min(from+batch, series); i++ {
			batched = append(batched, one(float64(i%977)+float64(at%13), at,
				"__name__", fmt.Sprintf("http_request_duration_seconds_bucket_%d", i%50),
				"cluster", "production-eu-west-1", "code", fmt.Sprint(200+i%7),
				"container", "api-server", "endpoint", "https-metrics",
				"handler", fmt.Sprintf("/api/v1/resource/%d", i/50%100),
				"instance", fmt.Sprintf("10.0.%d.%d:8443", i/5000%250, i/1250000),
				"job", "kubernetes-service-endpoints", "le", "0.25",
				"namespace", "monitoring", "pod", fmt.Sprintf("api-server-%08d-%d", i/5000, i)))
		}
		bodies = append(bodies, bodyOf(t, schema, batched...))
	}
	return bodies
}

func openTestState(t testing.TB) *state {
	t.Helper()
	o := seglog.DefaultOptions()
	o.Sync = seglog.SyncNever // the disk is not what is measured
	store, err := seglog.OpenStore(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openState(folder{store}, newEndedLogs(discard))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.writer.Close()
		_ = store.Close()
	})
	return s
}

// later makes the decoded samples of a round those of another.
func later(req *remotewrite.Request, round int) {
	for i := range req.Samples {
		req.Samples[i].Timestamp += int64(round) * 15000
	}
}

func TestKnownSeriesAllocateNothing(t *testing.T) {
	for _, tenant := range []*segment.Label{nil, &benchTenant} {
		s := openTestState(t)
		body := steady(t, v1, 2000, 2000, 1700000000000)[0]
		req := remotewrite.NewRequest(remotewrite.DefaultLimits())
		round := 0
		ingest := func() {
			if err := req.SetTenant(tenant); err != nil {
				t.Fatal(err)
			}
			if err := req.Decode(remotewrite.V1, body); err != nil {
				t.Fatal(err)
			}
			later(req, round)
			round++
			if taken := s.build(req); taken.samples != 2000 || s.block.Samples.Len() != 2000 {
				t.Fatalf("%+v", taken)
			}
		}
		ingest()
		if _, err := s.writer.Append(&s.block); err != nil {
			t.Fatal(err)
		}
		if err := s.head.ApplyBlock(&s.block); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(20, ingest); n != 0 {
			t.Errorf("tenant %v: %v allocations a request", tenant, n)
		}
	}
}

// TestGuesses checks that series in the order of the last time are found without
// the table, and others all the same.
func TestGuesses(t *testing.T) {
	in := newIntern()
	key := func(i int) remotewrite.Key { return remotewrite.Key{A: uint64(i)} }
	for i := 1; i <= 10; i++ {
		in.follow(in.add(key(i), entry{ref: uint64(i)}), key(i))
	}
	in.slots = keyTable{} // only guesses can find anything now
	in.reset()
	in.prev = 1
	for i := 2; i <= 10; i++ {
		if e, ok := in.guess(uint64(i)); !ok || e.ref != uint64(i) {
			t.Errorf("%d: %v, %v", i, e, ok)
		}
	}
	if _, ok := in.guess(3); ok {
		t.Error("3 was guessed after 10")
	}
}

// TestSpellings finds a series by each of its spellings, up to a number, until
// it is dropped, and then by none.
func TestSpellings(t *testing.T) {
	in := newIntern()
	key := func(i int) remotewrite.Key { return remotewrite.Key{A: uint64(i), B: 1} }
	first, other := in.add(key(1), entry{ref: 7}), in.add(key(100), entry{ref: 8})
	for i := 2; i < 20; i++ {
		in.spell(key(i), first)
	}
	found := func() (n int) {
		for i := 1; i < 20; i++ {
			in.reset()
			if e, ok := in.find(key(i)); ok && e.ref == 7 {
				n++
			}
		}
		return n
	}
	if n := found(); n != 1+maxSpellings {
		t.Errorf("found by %d of its spellings", n)
	}
	in.reset()
	in.follow(other, key(100))
	if e, ok := in.find(key(3)); !ok || e.hash != key(3).A {
		t.Errorf("%v, %v", e, ok)
	}
	in.reset()
	in.follow(other, key(100))
	if e, ok := in.guess(3); !ok || e.ref != 7 {
		t.Error("the spelling that was used last was not guessed")
	}
	in.drop(map[uint64]struct{}{7: {}})
	if n := found(); n != 0 || in.slots.n != 1 {
		t.Errorf("found by %d of its spellings after it was dropped, %d keys are left", n, in.slots.n)
	}
	if slot := in.add(key(50), entry{ref: 9}); slot != first {
		t.Errorf("slot %d, and %d is free", slot, first)
	}
}

func benchmarkIngest(b *testing.B, series int, tenant *segment.Label) {
	s := openTestState(b)
	bodies := steady(b, v1, series, 2000, 1700000000000)
	req := remotewrite.NewRequest(remotewrite.DefaultLimits())
	if err := req.SetTenant(tenant); err != nil {
		b.Fatal(err)
	}
	round := 0
	ingest := func() int {
		n := 0
		for _, body := range bodies {
			d := digestOf(1, tenant, body)
			d[0] ^= byte(round) // as if the bytes were others
			d[1] ^= byte(round >> 8)
			if err := req.Decode(remotewrite.V1, body); err != nil {
				b.Fatal(err)
			}
			later(req, round)
			now := time.Now()
			if err := s.rotate(now, time.Hour); err != nil {
				b.Fatal(err)
			}
			if _, _, err := s.apply(req, d, now); err != nil {
				b.Fatal(err)
			}
			n += len(req.Samples)
		}
		round++
		return n
	}
	ingest()
	b.ReportAllocs()
	n, used := 0, cpuSeconds(b)
	for b.Loop() {
		n += ingest()
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Msamples/s")
	b.ReportMetric(float64(n)/(cpuSeconds(b)-used)/1e6, "Msamples/cpu-s")
	b.ReportMetric(float64(len(bodies)), "requests/op")
}

// cpuSeconds is what the process has used, which says more than the time that
// has passed on a machine that does other things as well.
func cpuSeconds(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return (time.Duration(u.Utime.Nano()) + time.Duration(u.Stime.Nano())).Seconds()
}

// BenchmarkIngest decodes, interns, appends to a log on disk without fsync, and
// applies to the head, all in one goroutine. An op is a round of all series.
func BenchmarkIngest(b *testing.B) {
	for _, series := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(series), func(b *testing.B) { benchmarkIngest(b, series, nil) })
	}
	b.Run("100000 of a tenant", func(b *testing.B) { benchmarkIngest(b, 100_000, &benchTenant) })
}

// benchTenant is not in the bodies of steady.
var benchTenant = segment.Label{Name: "tenant", Value: "team-a"}

// BenchmarkIngestNew is the same for series that are seen for the first time,
// on disk and in the head.
func BenchmarkIngestNew(b *testing.B) {
	b.Run("of nobody", func(b *testing.B) { benchmarkIngestNew(b, nil) })
	b.Run("of a tenant", func(b *testing.B) { benchmarkIngestNew(b, &benchTenant) })
}

func benchmarkIngestNew(b *testing.B, tenant *segment.Label) {
	const series = 100_000
	bodies := steady(b, v1, series, 2000, 1700000000000)
	req := remotewrite.NewRequest(remotewrite.DefaultLimits())
	if err := req.SetTenant(tenant); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var used float64
	for b.Loop() {
		b.StopTimer()
		s := openTestState(b)
		b.StartTimer()
		before := cpuSeconds(b)
		for _, body := range bodies {
			if err := req.Decode(remotewrite.V1, body); err != nil {
				b.Fatal(err)
			}
			if _, _, err := s.apply(req, digestOf(1, tenant, body), time.Now()); err != nil {
				b.Fatal(err)
			}
		}
		used += cpuSeconds(b) - before
	}
	b.ReportMetric(series*float64(b.N)/used/1e6, "Mseries/cpu-s")
}
