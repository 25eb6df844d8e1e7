package merge

import (
	"errors"
	"slices"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/server/refusal"
)

// regroup takes in what the groups have changed to: parts of groups that were added begin,
// and those of groups that were removed come to their end.
func (st *stream) regroup() error {
	select {
	case <-st.changed:
	default:
		if err := st.leaveEnded(); err != nil || !st.left {
			return err
		}
	}
	st.left = false
	var groups []Group
	groups, st.changed = st.Groups.Groups()
	if st.follow {
		for _, p := range st.parts {
			if p.leaving || slices.Contains(groups, p.group) {
				continue
			}
			if err := st.end(p); err != nil {
				return err
			}
		}
		for _, g := range groups {
			if !slices.ContainsFunc(st.parts, func(p *part) bool { return p.group.Name() == g.Name() }) {
				st.begin(g)
			}
		}
	}
	if len(st.unplaced) > 0 || slices.ContainsFunc(st.parts, func(p *part) bool { return p.done == nil && !p.ended }) {
		if err := st.placeParts(nil); err != nil {
			return err
		}
	}
	return st.leaveEnded()
}

// begin begins the part of a group that was added, with what the stream has had of it
// before. It starts once it is known which logs it has.
func (st *stream) begin(g Group) {
	p := st.add(g)
	p.placed = true
	st.unplaced, st.absent = append(st.unplaced, st.absent...), nil
}

// end has a part read what its group has, and no more.
func (st *stream) end(p *part) error {
	started := p.stop()
	p.leaving = true
	if !started {
		return nil
	}
	return st.goOn(p)
}

var errLoose = errors.New("a stream broke off within a snapshot of several logs")

// goOn starts a part that was stopped where it was.
func (st *stream) goOn(p *part) error {
	switch {
	case p.ended:
		return nil
	case p.loose:
		return refusal.Unavailable(errLoose, st.cursor)
	}
	p.start(st.ctx)
	return nil
}

// leaveEnded leaves the parts of groups that were removed and have been read to their end,
// or of which no server answers any more.
func (st *stream) leaveEnded() error {
	for i := 0; i < len(st.parts); i++ {
		p := st.parts[i]
		if !p.leaving || !p.ended && !p.lostFor(st.Timeout) {
			continue
		}
		p.stop()
		st.parts = slices.Delete(st.parts, i, i+1)
		st.left = true
		i--
		for _, at := range p.place {
			at.Gone, at.SnapshotRef, at.SnapshotTime = true, 0, 0
			st.absent = append(st.absent, at)
		}
		if p.ended {
			continue
		}
		if err := st.tell(&metricsv1.Gap{Reason: "group " + p.group.Name() + " was removed, and does not answer: what came there may be missing"}); err != nil {
			return err
		}
	}
	return nil
}

// failed is what the client is told of a part that cannot go on.
func (st *stream) failed(p *part, err error) error {
	switch {
	case connect.CodeOf(err) == connect.CodeOutOfRange:
		return st.tooOld(p, err)
	case kindOf(err) == final:
		return err
	}
	return refusal.Unavailable(err, st.cursor)
}

// tooOld is the error for a cursor of which a group has not the next block any more, with
// the nearest that can be served.
func (st *stream) tooOld(of *part, err error) error {
	var positions []cursor.Position
	for _, p := range st.parts {
		if p != of {
			positions = append(positions, p.place...)
		}
	}
	if at, ok := detail[*metricsv1.CursorOutOfRange](err); ok {
		oldest, err := placeOf(at.GetOldestCursor())
		if err != nil {
			return err
		}
		positions = append(positions, oldest...)
	}
	c, composed := compose(st.since, append(append(positions, st.absent...), st.unplaced...))
	if composed != nil {
		return composed
	}
	if c == nil {
		c = &cursor.Cursor{Since: st.since}
	}
	var cause *connect.Error
	if errors.As(err, &cause) {
		err = errors.New(cause.Message())
	}
	return refusal.OutOfRange(err, st.rights.Cursor(c))
}

// renumber has the client forget all references, and opens all streams again, with other
// numbers.
func (st *stream) renumber() error {
	started := map[*part]bool{}
	for _, p := range st.parts {
		started[p] = p.stop()
	}
	for more := true; more; {
		var err error
		if more, err = st.round(); err != nil {
			return err
		}
	}
	st.numbers = newNumbers(len(st.parts))
	st.out.forget = true
	for _, p := range st.parts {
		p.numbers = st.numbers
		if !started[p] {
			continue // It is not known yet where it starts.
		}
		if err := st.goOn(p); err != nil {
			return err
		}
	}
	return nil
}
