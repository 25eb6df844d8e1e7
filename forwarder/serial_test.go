package forwarder

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/internal/snappyblock"
)

// BenchmarkSerial measures what a sample costs a forwarder, step by step, in nanoseconds of
// CPU time of one thread:
//
//	shared   digest      of the request's bytes
//	         decompress
//	         scan        reading the fields, and hashing the labels
//	serial   append      encoding the block, and writing it
//	         build       the rest: finding the series, leaving out what comes again, and
//	                     applying the block to the head
//
// All processors share the first three. The others only the appender does, so that no number
// of processors makes a forwarder faster than one in which they are all.
func BenchmarkSerial(b *testing.B) {
	same := func(*remotewrite.Request) {}
	random := rand.New(rand.NewPCG(1, 2))
	other := func(req *remotewrite.Request) { shuffle(req, random) }
	b.Run("remote write 1.0", func(b *testing.B) { benchmarkKnown(b, v1, same) })
	b.Run("remote write 1.0, other order", func(b *testing.B) { benchmarkKnown(b, v1, other) })
	b.Run("remote write 2.0", func(b *testing.B) { benchmarkKnown(b, v2, same) })
	b.Run("new series, remote write 1.0", func(b *testing.B) { benchmarkNew(b, v1) })
	b.Run("new series, remote write 2.0", func(b *testing.B) { benchmarkNew(b, v2) })
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

const stepsSeries = 100_000

func benchmarkKnown(b *testing.B, schema linkv1.Schema, order func(*remotewrite.Request)) {
	runtime.LockOSThread() // whose clock is read
	defer runtime.UnlockOSThread()
	bodies := steady(b, schema, stepsSeries, 2000, 1700000000000)
	s := newSteps(b)
	s.round(bodies, schema, order) // the series are new
	s.forget()
	for b.Loop() {
		s.round(bodies, schema, order)
	}
	s.report()
}

func benchmarkNew(b *testing.B, schema linkv1.Schema) {
	runtime.LockOSThread() // whose clock is read
	defer runtime.UnlockOSThread()
	bodies := steady(b, schema, stepsSeries, 2000, 1700000000000)
	s := newSteps(b)
	for b.Loop() {
		b.StopTimer()
		s.reopen()
		b.StartTimer()
		s.round(bodies, schema, func(*remotewrite.Request) {})
	}
	s.report()
}

// steps are what the steps of a forwarder have cost so far.
type steps struct {
	b      *testing.B
	req    *remotewrite.Request
	raw    []byte // a request's body, decompressed
	rounds int
	state  *state

	samples                                       int
	digest, decompress, decode, appending, serial time.Duration
}

// timedWriter measures what appending costs.
type timedWriter struct {
	logWriter
	cost *time.Duration
}

func (w timedWriter) Append(block *segment.Block) (uint64, error) {
	defer func(began time.Duration) { *w.cost += threadCPU() - began }(threadCPU())
	return w.logWriter.Append(block)
}

func newSteps(b *testing.B) *steps {
	s := &steps{b: b, req: remotewrite.NewRequest(remotewrite.DefaultLimits())}
	s.reopen()
	return s
}

// reopen continues with a log in which there is no series.
func (s *steps) reopen() {
	s.state = openTestState(s.b)
	s.state.writer = timedWriter{s.state.writer, &s.appending}
}

// forget forgets what the steps have cost.
func (s *steps) forget() {
	s.samples = 0
	s.digest, s.decompress, s.decode, s.appending, s.serial = 0, 0, 0, 0, 0
}

// round ingests requests, in which samples are later each time.
func (s *steps) round(bodies [][]byte, schema linkv1.Schema, order func(*remotewrite.Request)) {
	for _, body := range bodies {
		var d digest
		s.time(&s.digest, func() error { d = digestOf(byte(schema), nil, body); return nil })
		s.time(&s.decode, func() error { return s.req.Decode(schemas[schema], body) })
		d[0], d[1] = d[0]^byte(s.rounds), d[1]^byte(s.rounds>>8) // as if the bytes were others
		later(s.req, s.rounds)
		order(s.req)
		s.time(&s.serial, func() error {
			now := time.Now()
			if err := s.state.rotate(now, time.Hour); err != nil {
				return err
			}
			if h := s.state.window.history(d, s.state.limits); len(h.steps) > 0 {
				return errors.New("a request was known")
			}
			_, _, err := s.state.apply(s.req, d, now)
			return err
		})
		s.samples += len(s.req.Samples)
	}
	for _, body := range bodies { // once more, and alone
		s.time(&s.decompress, func() (err error) { s.raw, err = snappyblock.Decode(s.raw[:cap(s.raw)], body); return err })
	}
	s.rounds++
}

// time adds what a step costs.
func (s *steps) time(cost *time.Duration, step func() error) {
	began := threadCPU()
	if err := step(); err != nil {
		s.b.Fatal(err)
	}
	*cost += threadCPU() - began
}

func (s *steps) report() {
	each := func(name string, cost time.Duration) {
		s.b.ReportMetric(float64(cost.Nanoseconds())/float64(s.samples), name+"-ns/sample")
	}
	each("shared", s.digest+s.decode)
	each("digest", s.digest)
	each("decompress", s.decompress)
	each("scan", s.decode-s.decompress)
	each("serial", s.serial)
	each("append", s.appending)
	each("build", s.serial-s.appending)
}

// threadCPU is the CPU time that this thread has used.
func threadCPU() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // no system is without it
	return time.Duration(t.Nano())
}
