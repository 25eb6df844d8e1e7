package torture

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

const (
	// tickEvery is how often the pair has a sample.
	tickEvery = 250 * time.Millisecond
	// pairFailover is how long one of them has to be silent for the other to be elected.
	pairFailover = 4 * time.Second
	// withoutPair selects what all others send.
	withoutPair = `{__name__!="pair"}`
)

// pair are two senders of the same samples, of which one is elected.
type pair struct {
	t      testing.TB
	lanes  [2]*lane
	silent [2]atomic.Bool
	began  time.Time
	last   atomic.Int64 // tick, up to which they send
	done   sync.WaitGroup
}

// startPair starts them, where there is one.
func startPair(r *rig, s *senders, seed uint64) *pair {
	if !r.o.pair {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &pair{t: r.t, began: time.Now()}
	p.last.Store(math.MaxInt64)
	for i := range p.lanes {
		p.lanes[i] = &lane{
			of: s, name: fmt.Sprint("replica ", i), gen: &generator{}, url: s.urls[i%len(s.urls)], ctx: ctx,
			client: &http.Client{Timeout: answerTimeout}, rand: rand.New(rand.NewPCG(seed, uint64(2000+i))),
		}
		p.done.Go(func() { p.run(i) })
	}
	r.t.Cleanup(func() {
		cancel()
		p.done.Wait()
	})
	return p
}

// run sends each tick until it is answered, unless the replica is silent then.
func (p *pair) run(i int) {
	l := p.lanes[i]
	defer l.client.CloseIdleConnections()
	for n := 0; int64(n) <= p.last.Load(); n++ {
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(time.Until(p.began.Add(time.Duration(n) * tickEvery))):
		}
		if p.silent[i].Load() {
			continue
		}
		body := encode(p.t, []*metricsv1.TimeSeries{{
			Labels:  []*metricsv1.Label{{Name: "__name__", Value: "pair"}, {Name: "__replica__", Value: fmt.Sprint(i)}, {Name: "cluster", Value: "c"}},
			Samples: []*metricsv1.Sample{{Timestamp: p.time(n), Value: float64(n)}},
		}}, false)
		for l.ctx.Err() == nil {
			status, _, err := l.post(body)
			if err == nil && status == http.StatusNoContent {
				break
			}
			l.turn()
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func (p *pair) time(tick int) int64 {
	return p.began.Add(time.Duration(tick) * tickEvery).UnixMilli()
}

// silence has one of the pair send nothing for a while.
func (r *rig) silence(f fault) (func(), bool) {
	i := f.target % 2
	if r.pair == nil || r.pair.silent[i].Swap(true) {
		return nil, false
	}
	r.say("replica %d of the pair is silent", i)
	return func() { r.pair.silent[i].Store(false) }, true
}

// settle waits, once all is healed, until one of them has been elected, and returns which
// ticks have to be there once.
func (p *pair) settle() (from, until int) {
	for i := range p.silent {
		p.silent[i].Store(false)
	}
	time.Sleep(4 * pairFailover)
	from = int(time.Since(p.began)/tickEvery) + 1
	time.Sleep(20 * tickEvery)
	until = int(time.Since(p.began) / tickEvery)
	p.last.Store(int64(until))
	p.done.Wait()
	return from, until
}

// verifyPair requires of the samples of the pair that they are what was sent, without the
// replica's name, and those of some ticks once wherever clients read.
func (r *rig) verifyPair(from, until int) {
	name := seriesName([]*metricsv1.Label{{Name: "__name__", Value: "pair"}, {Name: "cluster", Value: "c"}})
	for _, u := range r.doors() {
		var got map[int]int
		r.until(time.Now().Add(drainTime), "pair", func() bool {
			got = map[int]int{}
			for series, list := range r.get(u, "grpc", `{__name__="pair"}`) {
				if series != name {
					r.t.Errorf("%s has the series %s", u.Name, series)
				}
				for _, e := range list {
					n := int(math.Float64frombits(e.bits))
					if e.time != r.pair.time(n) {
						r.t.Errorf("%s has %s of the pair, which nobody sent", u.Name, e)
					}
					got[n]++
				}
			}
			return got[until] > 0
		})
		for n := from; n <= until; n++ {
			if got[n] != 1 {
				r.t.Errorf("%s has sample %d of the pair %d times, of %d to %d", u.Name, n, got[n], from, until)
			}
		}
	}
}

// TestPair shows that of a pair one's samples are stored, while they are silent in turn.
func TestPair(t *testing.T) {
	o := redundant(options{servers: 2, sync: "always"})
	o.pair = true
	r := newRig(t, o, filepath.Join(*evidence, t.Name()))
	s := startSenders(r, 1)
	s.end()
	r.pair = startPair(r, s, 1)
	for i := range 2 {
		time.Sleep(2 * pairFailover)
		end, ok := r.silence(fault{target: i})
		if !ok {
			t.Fatal("it is silent already")
		}
		time.Sleep(2 * pairFailover)
		end()
	}
	r.verifyPair(r.pair.settle())
}
