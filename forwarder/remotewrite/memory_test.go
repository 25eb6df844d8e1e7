package remotewrite

import (
	"errors"
	"flag"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/golang/snappy"
)

var (
	generateFor  = flag.Duration("generate-for", 0, "how long to look for the worst bodies; 0 is for a number of them")
	generateSeed = flag.Uint64("generate-seed", 1, "of the bodies")
)

// cost is what a body took.
type cost struct {
	schema         Schema
	body, decoded  int
	held, charged  int64 // in memory, and by its own account
	allocated      int64
	problems       int
	dictionary     int64 // of its labels, if all its series are new
	dictionaryHeld int64
	cpu            time.Duration
	err            error
}

func inUse() (held, allocated int64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.TotalAlloc)
}

// measure decodes a body, and asks for the labels of all its series as if they were
// new.
func measure(l Limits, schema Schema, raw []byte) cost {
	c := cost{schema: schema, decoded: len(raw)}
	body := snappy.Encode(nil, raw)
	c.body = len(body)
	held, allocated := inUse()
	r := NewRequest(l)
	r.Within(0, func(total int64) error { c.charged = total; return nil })
	if len(raw)%2 == 0 {
		_ = r.SetTenant(&owner)
	}
	from := time.Now()
	c.err = r.Decode(schema, body)
	c.cpu = time.Since(from)
	after, now := inUse()
	c.held, c.allocated, c.problems = after-held, now-allocated, r.Problems.Count
	from = time.Now()
	if c.err == nil {
		for i := range r.Series {
			if _, err := r.Labels(&r.Series[i], r.Key(&r.Series[i])); err != nil {
				r.Refuse(0, &r.Series[i], err)
			}
		}
	}
	c.cpu += time.Since(from)
	last, _ := inUse()
	c.dictionaryHeld, c.dictionary = last-after, int64(r.dictionary.size)
	runtime.KeepAlive(r)
	runtime.KeepAlive(body)
	return c
}

// allowance is what may be held or allocated besides: the request itself, texts, and
// what the runtime does meanwhile.
const allowance = 64 << 10

func (c *cost) check(t *testing.T, l Limits) {
	t.Helper()
	// A column that grows leaves the smaller ones behind, and a part that is wrong an
	// error that nobody keeps.
	const growths, wrong = 6, 512
	switch {
	case c.held > c.charged+allowance:
		t.Errorf("schema %d, %d bytes decoded: %d held, %d charged", c.schema, c.decoded, c.held, c.charged)
	case c.allocated > growths*c.charged+int64(wrong*c.problems)+allowance:
		t.Errorf("schema %d, %d bytes decoded: %d allocated, %d charged, %d parts are wrong", c.schema, c.decoded, c.allocated, c.charged, c.problems)
	// What was charged for the second hashes is taken by now, and memory for one row.
	case c.dictionaryHeld > c.dictionary+c.charged+int64(16*l.Labels+2*l.LabelsBytes)+allowance || c.dictionary > int64(mostDictionary(l)):
		t.Errorf("schema %d, %d bytes decoded: %d held by the labels, %d of them counted", c.schema, c.decoded, c.dictionaryHeld, c.dictionary)
	}
}

// TestMemoryOfRandomBodies makes bodies at random, and checks that what a request holds
// when it is decoded is what it asked for, whatever is in it. It tells the worst.
func TestMemoryOfRandomBodies(t *testing.T) {
	l := limitsWith(func(l *Limits) {
		l.DecodedBytes, l.Symbols, l.Samples, l.Series = 1<<20, 20_000, 20_000, 5000
	})
	g := &generator{rand.New(rand.NewPCG(*generateSeed, 0)), l}
	var become, perInput, cpu float64
	from, n := time.Now(), 0
	for ; *generateFor == 0 && n < 1000 || time.Since(from) < *generateFor; n++ {
		c := measure(l, Schema(1+n%2), g.body(Schema(1+n%2), 1<<g.IntN(18)))
		c.check(t, l)
		if t.Failed() {
			t.Fatalf("body %d", n)
		}
		if c.decoded >= 1000 { // Below, what is fixed counts for most.
			become = max(become, float64(c.held)/float64(c.decoded))
			perInput = max(perInput, float64(c.allocated)/float64(c.body))
			cpu = max(cpu, float64(c.cpu.Nanoseconds())/float64(c.body))
		}
	}
	t.Logf("%d bodies; at most %.1f bytes held a decoded one, %.0f allocated and %.0f ns a byte of input", n, become, perInput, cpu)
}

// TestMemoryOfWorstBodies does the same with those that are known to be bad, as large
// as they may be.
func TestMemoryOfWorstBodies(t *testing.T) {
	l := DefaultLimits()
	l.BlockBytes = 1 << 30 // for more than is stored
	for name, worst := range worstBodies(l, l.DecodedBytes/4) {
		t.Run(name, func(t *testing.T) {
			c := measure(l, worst.Schema, worst.body)
			c.check(t, l)
			t.Logf("%d bytes, %d decoded: %d held, %d charged, %d allocated, %d for labels, %v, %v", c.body, c.decoded, c.held, c.charged, c.allocated, c.dictionaryHeld, c.cpu, c.err)
			if c.charged < int64(c.decoded) {
				t.Errorf("%d bytes charged", c.charged)
			}
		})
	}
}

// TestMemoryIsRefused refuses each body as soon as it would take more than it may.
func TestMemoryIsRefused(t *testing.T) {
	l := DefaultLimits()
	refused := errors.New("no more")
	for name, worst := range worstBodies(l, l.DecodedBytes/4) {
		t.Run(name, func(t *testing.T) {
			body := snappy.Encode(nil, worst.body)
			for _, most := range []int64{0, int64(len(worst.body)) * 3 / 2, 2 * int64(len(worst.body))} {
				r := NewRequest(l)
				before, _ := inUse()
				r.Within(most, func(int64) error { return refused })
				err := r.Decode(worst.Schema, body)
				after, _ := inUse()
				if held := after - before; held > most+allowance || r.Used() > most {
					t.Errorf("%d of %d bytes allowed: %d are held", r.Used(), most, held)
				}
				if err != nil && (!errors.Is(err, refused) || !errors.Is(err, ErrTooLarge)) {
					t.Error(err)
				}
				if most == 0 && err == nil {
					t.Error("it was decoded into nothing")
				}
				runtime.KeepAlive(r)
			}
		})
	}
}
