package forwarder

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
)

// BenchmarkSerial measures what only the appender does: no number of processors makes a
// forwarder faster than one in which that is all. It reports nanoseconds of CPU for a
// sample of a known series, and those of what all processors share, which is decoding and
// the digest.
func BenchmarkSerial(b *testing.B) {
	same := func(*remotewrite.Request) {}
	b.Run("same order", func(b *testing.B) { benchmarkSerial(b, same) })
	random := rand.New(rand.NewPCG(1, 2))
	b.Run("other order", func(b *testing.B) {
		benchmarkSerial(b, func(req *remotewrite.Request) { shuffle(req, random) })
	})
}

// shuffle changes the order of series that have one sample each.
func shuffle(req *remotewrite.Request, random *rand.Rand) {
	random.Shuffle(len(req.Series), func(i, j int) {
		a, b := &req.Series[i], &req.Series[j]
		*a, *b = *b, *a
		a.SamplesEnd, b.SamplesEnd = b.SamplesEnd, a.SamplesEnd
		req.Samples[i], req.Samples[j] = req.Samples[j], req.Samples[i]
	})
}

func benchmarkSerial(b *testing.B, order func(*remotewrite.Request)) {
	runtime.LockOSThread() // whose clock is read
	defer runtime.UnlockOSThread()
	s := openTestState(b)
	bodies := steady(b, 100_000, 2000, 1700000000000)
	req := remotewrite.NewRequest(remotewrite.DefaultLimits())
	var serial, shared time.Duration
	samples, round := 0, 0
	ingest := func() {
		for _, body := range bodies {
			began := threadCPU()
			d := digestOf(1, nil, body)
			if err := req.Decode(remotewrite.V1, body); err != nil {
				b.Fatal(err)
			}
			shared += threadCPU() - began
			d[0], d[1] = d[0]^byte(round), d[1]^byte(round>>8) // as if the bytes were others
			later(req, round)
			order(req)
			began = threadCPU()
			now := time.Now()
			if err := s.rotate(now, time.Hour); err != nil {
				b.Fatal(err)
			}
			if h := s.window.history(d, s.limits); len(h.steps) > 0 {
				b.Fatal("a request was known")
			}
			if _, _, err := s.apply(req, d, now); err != nil {
				b.Fatal(err)
			}
			serial += threadCPU() - began
			samples += len(req.Samples)
		}
		round++
	}
	ingest() // the series are new
	serial, shared, samples = 0, 0, 0
	for b.Loop() {
		ingest()
	}
	b.ReportMetric(float64(serial.Nanoseconds())/float64(samples), "serial-ns/sample")
	b.ReportMetric(float64(shared.Nanoseconds())/float64(samples), "shared-ns/sample")
}

// threadCPU is the CPU time that this thread has used.
func threadCPU() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // no system is without it
	return time.Duration(t.Nano())
}
