package simulation

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	schedules = flag.Uint64("schedules", 20_000, "how many schedules to play")
	first     = flag.Uint64("first", 1, "seed of the first one")
)

// TestMain has little collected: a simulation is small, and gone soon.
func TestMain(m *testing.M) {
	debug.SetGCPercent(1000)
	os.Exit(m.Run())
}

// scheduleOf makes the schedule of a seed.
func scheduleOf(seed uint64) (s schedule) {
	s.make(seed, rand.New(rand.NewPCG(seed, 1)))
	return s
}

// search plays schedules on all processors, and returns the one with the lowest seed
// in which that is wrong, nil if there is none.
func search(first, n uint64, d *decisions, what *regexp.Regexp) *schedule {
	var next, lowest atomic.Uint64
	lowest.Store(first + n)
	next.Store(first)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := next.Add(1) - 1; seed < lowest.Load(); seed = next.Add(1) - 1 {
				if play(scheduleOf(seed), d, false).is(what) {
					for low := lowest.Load(); seed < low && !lowest.CompareAndSwap(low, seed); low = lowest.Load() {
					}
				}
			}
		})
	}
	wg.Wait()
	if lowest.Load() == first+n {
		return nil
	}
	found := scheduleOf(lowest.Load())
	return &found
}

// is says whether that went wrong.
func (w *world) is(what *regexp.Regexp) bool { return slices.ContainsFunc(w.faulted, what.MatchString) }

// anything may be wrong.
var anything = regexp.MustCompile("")

// shrink leaves out what is not needed for that to be wrong.
func shrink(s schedule, d *decisions, what *regexp.Regexp) schedule {
	for smaller := true; smaller; {
		smaller = false
		for i := range s.faults {
			less := s
			less.faults = slices.Delete(slices.Clone(s.faults), i, i+1)
			if smaller = play(less, d, false).is(what); smaller {
				s = less
				break
			}
		}
		for i := 0; i < len(s.posts) && !smaller; i++ {
			less := s
			less.posts = slices.Delete(slices.Clone(s.posts), i, i+1)
			if smaller = play(less, d, false).is(what); smaller {
				s = less
			}
		}
	}
	return s
}

// tell what happens in a schedule, in words.
func tell(s schedule, d *decisions) string {
	w := play(s, d, true)
	return fmt.Sprintf("%v\n%s\n\nwrong:\n%s", &s, strings.Join(w.told, "\n"), strings.Join(w.faulted, "\n"))
}

// TestSchedules plays many schedules, and finds nothing wrong.
func TestSchedules(t *testing.T) {
	began := time.Now()
	if found := search(*first, *schedules, asTheyAre(), anything); found != nil {
		t.Fatal(tell(shrink(*found, asTheyAre(), anything), asTheyAre()))
	}
	t.Logf("%d schedules in %v", *schedules, time.Since(began).Round(time.Millisecond))
}
