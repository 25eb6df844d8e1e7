package discovery

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type sets chan []Instance

func (s sets) Watch(context.Context) <-chan []Instance { return s }

// crew is what runs for the instances of a source in a test.
type crew struct {
	Members[Instance]
	mu      sync.Mutex
	running []string // IDs and addresses
	gone    []string
	linger  chan struct{} // what ends waits for it, nil: not
}

func newCrew() *crew {
	c := &crew{}
	c.Start = func(i Instance) (Instance, func(context.Context)) {
		return i, func(ctx context.Context) {
			at := i.ID + "@" + i.Address
			c.change(func() { c.running = append(c.running, at) })
			<-ctx.Done()
			if c.linger != nil {
				<-c.linger
			}
			c.change(func() { c.running = slices.DeleteFunc(c.running, func(s string) bool { return s == at }) })
		}
	}
	c.Name = func(i Instance) string { return i.Address }
	c.Gone = func(name string) { c.change(func() { c.gone = append(c.gone, name) }) }
	return c
}

func (c *crew) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

// waitFor waits until these run, in any order, and returns who is gone by then.
func (c *crew) waitFor(t *testing.T, running ...string) (gone []string) {
	t.Helper()
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		c.change(func() {
			assert.ElementsMatch(t, running, c.running)
			gone = slices.Clone(c.gone)
		})
	}, 30*time.Second, time.Millisecond)
	return gone
}

// run follows a source until the returned function is called.
func (c *crew) run(t *testing.T) (sets, func()) {
	source, ended := make(sets), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { defer close(ended); c.Run(ctx, source) }()
	return source, func() { cancel(); close(source); <-ended }
}

func TestMembersFollowTheSource(t *testing.T) {
	c := newCrew()
	source, stop := c.run(t)
	a, b, moved, renamed := Instance{"a", "h:1"}, Instance{"b", "h:2"}, Instance{"a", "h:3"}, Instance{"c", "h:2"}
	for _, step := range []struct {
		name    string
		set     []Instance
		running []string
	}{
		{"two", []Instance{a, b}, []string{"a@h:1", "b@h:2"}},
		{"in another order", []Instance{b, a}, []string{"a@h:1", "b@h:2"}},
		{"one has moved", []Instance{b, moved}, []string{"b@h:2", "a@h:3"}},
		{"another has its address", []Instance{renamed, moved}, []string{"c@h:2", "a@h:3"}},
		{"none", nil, nil},
		{"one is back", []Instance{a}, []string{"a@h:1"}},
	} {
		source <- step.set
		c.waitFor(t, step.running...)
		require.EventuallyWithT(t, func(t *assert.CollectT) {
			assert.Equal(t, append([]Instance{}, step.set...), c.All())
		}, 30*time.Second, time.Millisecond, step.name)
	}
	stop()
	require.ElementsMatch(t, []string{"h:1", "h:2", "h:3", "h:1"}, c.gone)
}

// TestMembersOfOneName checks that a name is not gone while another of that name runs,
// whichever of the two ends first.
func TestMembersOfOneName(t *testing.T) {
	c := newCrew()
	c.linger = make(chan struct{})
	source, stop := c.run(t)
	source <- []Instance{{"old", "h:1"}}
	c.waitFor(t, "old@h:1")
	source <- []Instance{{"new", "h:1"}}
	c.waitFor(t, "old@h:1", "new@h:1")
	c.linger <- struct{}{}
	require.Empty(t, c.waitFor(t, "new@h:1"))
	close(c.linger)
	stop()
	require.Equal(t, []string{"h:1"}, c.gone)
}
