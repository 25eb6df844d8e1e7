package discovery

import (
	"context"
	"slices"
	"sync"

	"github.com/promgrpc/exporter/internal/invariant"
)

// Members runs something for each instance that a source names. T is what the caller
// keeps of an instance.
//
// An instance that is new in a set is started; the context of one that is not in the
// set any more ends. One that comes back at another address, or under another ID at
// the same address, is another one: the old may still be ending when it starts.
type Members[T any] struct {
	// Start returns what is kept of an instance, and what runs until its context ends.
	// It may not call All.
	Start func(Instance) (kept T, run func(context.Context))
	// Name that an instance's metrics go by, and Gone, which is called with it once
	// nothing runs under that name. Nothing is started meanwhile.
	Name func(Instance) string
	Gone func(name string)

	mu      sync.Mutex
	all     []T // replaced, never changed
	members []member
	running map[string]int // by name
}

type member struct {
	instance Instance
	stop     context.CancelFunc
}

// Run follows the source until ctx ends, and returns when nothing runs any more.
func (m *Members[T]) Run(ctx context.Context, source Source) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for set := range source.Watch(ctx) {
		m.adopt(ctx, set, &wg)
	}
}

// All returns what was kept of the instances of the newest set, in its order. The
// slice is not to be changed.
func (m *Members[T]) All() []T {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all
}

// adopt makes the members those of a set.
func (m *Members[T]) adopt(ctx context.Context, set []Instance, wg *sync.WaitGroup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, keptBefore := m.members, m.all
	m.members, m.all = make([]member, 0, len(set)), make([]T, 0, len(set))
	for _, old := range before {
		if !slices.Contains(set, old.instance) {
			old.stop()
		}
	}
	for _, instance := range set {
		if i := slices.IndexFunc(before, func(old member) bool { return old.instance == instance }); i >= 0 {
			m.members, m.all = append(m.members, before[i]), append(m.all, keptBefore[i])
			continue
		}
		kept, run := m.Start(instance)
		m.members = append(m.members, member{instance, m.start(ctx, instance, run, wg)})
		m.all = append(m.all, kept)
	}
}

// start runs an instance until the function that it returns is called. The caller
// holds mu.
func (m *Members[T]) start(ctx context.Context, instance Instance, run func(context.Context), wg *sync.WaitGroup) context.CancelFunc {
	name := m.Name(instance)
	if m.running == nil {
		m.running = map[string]int{}
	}
	m.running[name]++
	ctx, cancel := context.WithCancel(ctx)
	wg.Go(func() {
		defer cancel()
		run(ctx)
		m.mu.Lock()
		defer m.mu.Unlock()
		if invariant.On {
			invariant.Check(m.running[name] > 0, "%d run as %s, and one ends", m.running[name], name)
		}
		if m.running[name]--; m.running[name] == 0 {
			delete(m.running, name)
			m.Gone(name)
		}
	})
	return cancel
}
