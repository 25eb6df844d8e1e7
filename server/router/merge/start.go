package merge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/server/refusal"
)

// A stream has a part for each group. With a cursor, each goes on at the positions in its
// group's logs; a group of whose logs the cursor names none is new to the client, and comes
// from its oldest block on, as a server's new log does. So does one that is added to the
// groups file later: the series that have moved to it are nowhere else. A position in a log
// that no group has is kept in the cursors, as one that is gone; and while a group has not
// said yet which logs it has, as it is.

var errNoGroups = errors.New("there are no groups of servers")

// start makes the parts, and starts those that have their place.
func (st *stream) start(req *metricsv1.GetMetricsRequest) error {
	var groups []Group
	groups, st.changed = st.Groups.Groups()
	if len(groups) == 0 {
		return refusal.Unavailable(errNoGroups, "")
	}
	if st.references {
		st.numbers = newNumbers(len(groups))
	}
	switch start := req.GetStart().(type) {
	case *metricsv1.GetMetricsRequest_Cursor:
		c, err := st.rights.ParseCursor(start.Cursor)
		if err != nil {
			return connect.NewError(connect.CodeInvalidArgument, err)
		}
		st.cursor = start.Cursor
		return st.startAt(groups, c)
	case *metricsv1.GetMetricsRequest_Since:
		if err := start.Since.CheckValid(); err != nil {
			return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("since: %w", err))
		}
		// Samples have whole milliseconds, so this rounds up.
		st.since = new(start.Since.AsTime().Add(time.Millisecond - 1).UnixMilli())
		for _, g := range groups {
			st.add(g).startAt(nil, st.since)
		}
	default:
		st.latest = true
		if st.Placement != nil {
			st.moved = newMoved(st.Placement(), time.Now(), st.Staleness, st.movedHold)
		}
		for _, g := range groups {
			st.add(g)
		}
	}
	for _, p := range st.parts {
		p.start(st.ctx)
	}
	return nil
}

// add adds the part of a group, in the order of the names.
func (st *stream) add(g Group) *part {
	p := newPart(g)
	p.request, p.numbers, p.moved, p.wake = st.request, st.numbers, st.moved, st.wake
	p.report = func(err error) { st.broke(g, err) }
	i, _ := slices.BinarySearchFunc(st.parts, g.Name(), func(p *part, name string) int {
		switch {
		case p.group.Name() < name:
			return -1
		case p.group.Name() > name:
			return 1
		}
		return 0
	})
	st.parts = slices.Insert(st.parts, i, p)
	return p
}

// startAt has a part go on at positions. Without any, it has all from the oldest block on.
func (p *part) startAt(positions []cursor.Position, since *int64) {
	p.place, p.placed = positions, true
	p.at = (&cursor.Cursor{Positions: positions, Since: since}).String()
}

// startAt resumes at a cursor.
func (st *stream) startAt(groups []Group, c *cursor.Cursor) error {
	st.since = c.Since
	_, left := divide(c.Positions, groups)
	if slices.ContainsFunc(left, func(p cursor.Position) bool { return !p.Gone }) {
		// A log may be newer than what is known of the groups.
		refresh(st.ctx, groups)
	}
	for _, g := range groups {
		st.add(g).placed = true
	}
	st.unplaced = slices.Clone(c.Positions)
	return st.placeParts(c.Positions)
}

// refreshTimeout is how long groups are asked which logs they have.
const refreshTimeout = 10 * time.Second

// refresh asks all groups which logs they have.
func refresh(ctx context.Context, groups []Group) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, g := range groups {
		all.Go(func() { g.Refresh(ctx) })
	}
	all.Wait()
}

// placeParts starts the parts of groups whose logs are known, with the positions in those.
// Once all are, what is left is of logs that no group has: the client is told what it may
// miss, and whoever has nothing of what the client asks for says so.
func (st *stream) placeParts(of []cursor.Position) error {
	known := true
	for _, p := range st.parts {
		if p.done != nil || p.ended {
			continue
		}
		ids, ok := p.group.Logs()
		if !ok {
			known = false
			continue
		}
		var mine []cursor.Position
		st.unplaced = slices.DeleteFunc(st.unplaced, func(at cursor.Position) bool {
			if ids[at.Log] {
				mine = append(mine, at)
			}
			return ids[at.Log]
		})
		p.startAt(mine, st.since)
		p.start(st.ctx)
	}
	if !known || len(st.unplaced) == 0 {
		return nil
	}
	left := st.unplaced
	st.unplaced = nil
	if len(left) == len(of) && !slices.ContainsFunc(left, func(p cursor.Position) bool { return p.Gone }) {
		oldest := &cursor.Cursor{Since: st.since}
		return refusal.OutOfRange(fmt.Errorf("no group has log %s, nor any other that it names", left[0].Log), st.rights.Cursor(oldest))
	}
	return st.leave(left)
}

// leave goes on without logs that no group has.
func (st *stream) leave(left []cursor.Position) error {
	var missed []*metricsv1.Gap
	for _, p := range left {
		if !p.Gone {
			missed = append(missed, &metricsv1.Gap{
				LogId: p.Log.String(), AfterSequence: p.Sequence,
				Reason: "no group has the log: what came in it since may be missing",
			})
		}
		p.Gone, p.Entries, p.SnapshotRef, p.SnapshotTime = true, 0, 0, 0
		st.absent = append(st.absent, p)
	}
	return st.tell(missed...)
}

// tell tells the client of gaps.
func (st *stream) tell(gaps ...*metricsv1.Gap) error {
	for _, g := range gaps {
		content, _ := proto.Marshal(g) // fails only for what is not UTF-8
		if err := st.send(fieldGap, st.gap(content)); err != nil {
			return err
		}
	}
	return nil
}
