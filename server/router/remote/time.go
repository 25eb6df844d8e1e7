package remote

import (
	"context"
	"errors"
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
	groups Groups
	// silentAfter is for how long a group's time stands still before the group is silent.
	silentAfter time.Duration

	changed broadcast.Signal
	held    broadcast.Signal // when other groups are away or silent

	mu  sync.Mutex
	now map[string]*groupTime // by the names of the groups that there are; nil: none are known
}

// groupTime is what one group has said last.
type groupTime struct {
	group               Group
	passed, began, lost int64
	known               bool      // the time is
	moved               time.Time // when the time went on last, or was first asked for
	away, silent        bool
	end                 context.CancelFunc
}

// NewTime returns the time of groups, which is not known before [Time.Run] has asked them. A
// group whose time has stood still for silentAfter is silent.
func NewTime(groups Groups, silentAfter time.Duration) *Time {
	return &Time{groups: groups, silentAfter: silentAfter}
}

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
			of = &groupTime{group: g, began: math.MaxInt64, lost: math.MinInt64, moved: time.Now()}
			follow(g, of)
		}
		if away := g.Away(); away != of.away {
			of.away = away
			defer t.held.Wake()
		}
		t.now[g.Name()] = of
	}
	for name, of := range before {
		if t.now[name] != of {
			of.end()
			defer t.held.Wake()
		}
	}
	t.changed.Wake()
}

// patience is how long a server may say nothing: it tells the time each second.
const patience = 10 * time.Second

// betweenSilent is after how long a group that is silent is followed at another server:
// forwarders may be able to reach that.
const betweenSilent = time.Second

// follow follows the time of a group until ctx ends.
func (t *Time) follow(ctx context.Context, g Group, of *groupTime) {
	for ctx.Err() == nil {
		following, cancel := context.WithCancel(ctx)
		quiet := time.AfterFunc(patience, cancel)
		// Why it ended does not matter: it is followed at another server.
		_ = once(following, g, queryv1connect.QueryServiceFollowTimeProcedure, &queryv1.FollowTimeRequest{}, &telling{t, of, quiet})
		quiet.Stop()
		cancel()
		pause := betweenAttempts
		if t.judge(of) {
			pause = betweenSilent
		}
		_ = backoff.Sleep(ctx, pause)
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
	g.quiet.Reset(patience)
	g.time.tell(g.of, &m)
	if g.time.judge(g.of) {
		return errSilent
	}
	return nil
}

// errSilent ends a call of a server whose time stands still.
var errSilent = errors.New("the time of the server stands still")

// tell notes what a server says. Another server of the group may lag behind: what it lacks
// is waited for where it is read, and time does not go back.
func (t *Time) tell(of *groupTime, m *queryv1.FollowTimeResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.Time != nil && (!of.known || m.GetTime() > of.passed) {
		of.passed, of.known, of.moved = m.GetTime(), true, time.Now()
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

// judge says whether a group is silent: its time has stood still for too long.
func (t *Time) judge(of *groupTime) (silent bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if silent = time.Since(of.moved) >= t.silentAfter; silent != of.silent {
		of.silent = silent
		t.held.Wake()
	}
	return silent
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

// Silent names the groups whose time stands still while their servers answer.
func (t *Time) Silent() (names []string) {
	return t.which(func(of *groupTime) bool { return of.silent && !of.away })
}

// Away implements schedule.Source.
func (t *Time) Away() (names []string) {
	return t.which(func(of *groupTime) bool { return of.away })
}

// HeldBy implements schedule.Source.
func (t *Time) HeldBy() (names []string, changed <-chan struct{}) {
	changed = t.held.Next()
	return t.which(func(of *groupTime) bool { return of.away || of.silent }), changed
}

// which are the names, in order, of the groups that are so.
func (t *Time) which(are func(*groupTime) bool) (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, of := range t.now {
		if are(of) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
