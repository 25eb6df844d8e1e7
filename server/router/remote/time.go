package remote

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/broadcast"
)

// Time is the time that all groups have come to. It implements schedule.Source.
type Time struct {
	groups  Groups
	changed broadcast.Signal
	absent  broadcast.Signal // when other groups are away

	mu  sync.Mutex
	now map[string]*groupTime // by the names of the groups that there are; nil: none are known
}

// groupTime is what one group has said last.
type groupTime struct {
	group               Group
	passed, began, lost int64
	known               bool // the time is
	away                bool
	end                 context.CancelFunc
}

// NewTime returns the time of groups, which is not known before [Time.Run] has asked them.
func NewTime(groups Groups) *Time { return &Time{groups: groups} }

// Run follows the groups until ctx ends.
func (t *Time) Run(ctx context.Context) {
	var wait sync.WaitGroup
	defer wait.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		list, changed := t.groups.Groups()
		t.keep(list, func(g Group, of *groupTime) {
			following, end := context.WithCancel(ctx)
			of.end = end
			wait.Go(func() { t.follow(following, g, of) })
		})
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// keep has those groups followed that there are now.
func (t *Time) keep(list []Group, follow func(Group, *groupTime)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.now
	t.now = make(map[string]*groupTime, len(list))
	for _, g := range list {
		of := before[g.Name()]
		if of == nil || of.group != g {
			of = &groupTime{group: g, began: math.MaxInt64, lost: math.MinInt64}
			follow(g, of)
		}
		if away := g.Away(); away != of.away {
			of.away = away
			defer t.absent.Wake()
		}
		t.now[g.Name()] = of
	}
	for name, of := range before {
		if t.now[name] != of {
			of.end()
			defer t.absent.Wake()
		}
	}
	t.changed.Wake()
}

// silent is how long a server may say nothing: it tells the time each second.
const silent = 10 * time.Second

// follow follows the time of a group until ctx ends.
func (t *Time) follow(ctx context.Context, g Group, of *groupTime) {
	for ctx.Err() == nil {
		following, cancel := context.WithCancel(ctx)
		quiet := time.AfterFunc(silent, cancel)
		// Why it ended does not matter: it is followed at another server.
		_ = once(following, g, queryv1connect.QueryServiceFollowTimeProcedure, &queryv1.FollowTimeRequest{}, &telling{t, of, quiet})
		quiet.Stop()
		cancel()
		_ = backoff.Sleep(ctx, betweenAttempts)
	}
}

// telling is a group that tells the time.
type telling struct {
	time  *Time
	of    *groupTime
	quiet *time.Timer
}

func (telling) complete() bool { return false }
func (telling) again()         {}

func (g *telling) receive(wire []byte) error {
	var m queryv1.FollowTimeResponse
	if err := proto.Unmarshal(wire, &m); err != nil {
		return err
	}
	g.quiet.Reset(silent)
	g.time.tell(g.of, &m)
	return nil
}

// tell notes what a server says. Another server of the group may lag behind: what it lacks
// is waited for where it is read, and time does not go back.
func (t *Time) tell(of *groupTime, m *queryv1.FollowTimeResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.Time != nil {
		if of.known {
			of.passed = max(of.passed, m.GetTime())
		} else {
			of.passed, of.known = m.GetTime(), true
		}
	}
	of.began, of.lost = math.MaxInt64, math.MinInt64
	if m.Began != nil {
		of.began = m.GetBegan()
	}
	if m.Lost != nil {
		of.lost = m.GetLost()
	}
	t.changed.Wake()
}

// Passed implements schedule.Source: it is the time of the slowest group.
func (t *Time) Passed() (ms int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ms = math.MaxInt64
	for _, of := range t.now {
		if !of.known {
			return 0, false
		}
		ms = min(ms, of.passed)
	}
	return ms, len(t.now) > 0
}

// Began implements schedule.Source.
func (t *Time) Began() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	began := int64(math.MaxInt64)
	for _, of := range t.now {
		began = min(began, of.began)
	}
	return began
}

// Lost implements schedule.Source.
func (t *Time) Lost() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	lost := int64(math.MinInt64)
	for _, of := range t.now {
		lost = max(lost, of.lost)
	}
	return lost
}

// Changed implements schedule.Source.
func (t *Time) Changed() <-chan struct{} { return t.changed.Next() }

// Away implements schedule.Source.
func (t *Time) Away() (names []string, changed <-chan struct{}) {
	changed = t.absent.Next()
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, of := range t.now {
		if of.away {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, changed
}
