package merge

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/admission"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
)

// stream is a call of GetMetrics. It takes what its parts have gathered, in turn, and sends
// it: a slow client holds up the parts, and a slow part nobody.
type stream struct {
	*Streams
	ctx       context.Context
	rights    *admission.Rights
	sender    *call.Sender
	follow    bool
	refuse    bool // to go on without a group
	heartbeat time.Duration
	since     *int64                       // ms, as in the cursors of all parts
	request   *metricsv1.GetMetricsRequest // of the parts, but for where they start
	latest    bool                         // it started at the latest samples
	// references: each part's are apart from those of others
	references bool
	numbers    *numbers
	moved      *moved
	hold       *limit.Hold
	movedHold  *limit.Hold

	parts []*part
	turn  int // whose is the next response's beginning
	// unplaced are positions in logs that no group is known to have, while one has not said
	// which it has.
	unplaced []cursor.Position
	// absent are positions in logs that no group has.
	absent []cursor.Position

	woken    chan struct{}   // has an element when a part has something
	changed  <-chan struct{} // of the groups
	left     bool            // a part was left since the groups were looked at: its group may be back
	out      joined
	away     []string // that the client was told of
	synced   bool
	age      call.Age
	lastSent time.Time
	cursor   string // of the last response, or of the request before the first
}

// wake has the call look at its parts.
func (st *stream) wake() {
	select {
	case st.woken <- struct{}{}:
	default:
	}
}

// awayChecked is how often a part without a stream is looked at.
const awayChecked = time.Second

// run sends what comes until all parts have ended.
func (st *stream) run() error {
	timer := time.NewTimer(st.heartbeat)
	defer timer.Stop()
	for {
		if err := st.look(); err != nil {
			return err
		}
		more, err := st.round()
		if err != nil {
			return err
		}
		if done, err := st.events(more); done || err != nil {
			return err
		}
		if st.ctx.Err() != nil {
			return context.Cause(st.ctx)
		}
		if more {
			continue
		}
		timer.Reset(st.maxWait())
		select {
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		case <-st.woken:
		case <-st.changed:
		case <-timer.C:
		}
	}
}

// look sees to what has changed: of the groups, and of the parts.
func (st *stream) look() error {
	if err := st.account(); err != nil {
		return err
	}
	if err := st.regroup(); err != nil {
		return err
	}
	parked := false
	for _, p := range st.parts {
		noNumber, failed := p.trouble()
		parked = parked || noNumber
		if failed != nil {
			return st.failed(p, failed)
		}
	}
	if parked {
		if err := st.renumber(); err != nil {
			return err
		}
	}
	return st.tellAway()
}

// round takes what the parts have, beginning with another each time, until there is enough
// for a response, and sends it. It says whether there may be more.
func (st *stream) round() (more bool, err error) {
	if len(st.parts) == 0 {
		return false, nil
	}
	st.turn = (st.turn + 1) % len(st.parts)
	for i := range st.parts {
		p := st.parts[(st.turn+i)%len(st.parts)]
		took, err := p.take(&st.out)
		if err != nil {
			return false, err
		}
		more = more || took
	}
	switch {
	case st.out.gap != nil:
		return true, st.send(fieldGap, st.gap(st.out.gap))
	case !st.out.empty():
		return true, st.send(0, nil)
	}
	return more, nil
}

// gap is what the client is told of one: where it is in a log, and how long, would tell of
// series that the caller may not see.
func (st *stream) gap(content []byte) []byte {
	if !st.rights.Restricted() {
		return content
	}
	var g metricsv1.Gap
	_ = proto.Unmarshal(content, &g) // the rest is left out
	content, _ = proto.Marshal(&metricsv1.Gap{Reason: g.GetReason()})
	return content
}

// events sends those of the stream itself, and says whether it is complete.
func (st *stream) events(more bool) (done bool, err error) {
	if st.age.Reached() {
		return false, refusal.ErrAged
	}
	all := func(is func(p *part) bool) bool {
		return !slices.ContainsFunc(st.parts, func(p *part) bool { return !is(p) })
	}
	switch {
	case len(st.unplaced) > 0:
	case !st.follow && all(func(p *part) bool { return p.ended }):
		return true, st.send(fieldEnd, nil)
	case st.follow && !st.synced && all(func(p *part) bool { return p.synced || p.leaving }):
		st.synced = true
		st.age = st.Calls.NewAge()
		return false, st.send(fieldSynced, nil)
	}
	if !more && time.Since(st.lastSent) >= st.heartbeat {
		return false, st.send(fieldHeartbeat, nil)
	}
	return false, nil
}

// maxWait is how long the stream may wait for its parts.
func (st *stream) maxWait() time.Duration {
	wait := st.age.Wait(st.heartbeat - time.Since(st.lastSent))
	if slices.ContainsFunc(st.parts, func(p *part) bool { return p.waits() }) {
		wait = min(wait, awayChecked)
	}
	return max(wait, 0)
}

// send completes the response and sends it.
func (st *stream) send(event protowire.Number, content []byte) error {
	at, err := st.here()
	if err != nil {
		return err
	}
	if err := st.sender.Send(st.out.complete(at, event, content)); err != nil {
		return err
	}
	st.out.reset()
	st.cursor, st.lastSent = at, time.Now()
	return nil
}

// here is the cursor of all that was taken of the parts, "" where there is none.
func (st *stream) here() (string, error) {
	n := len(st.unplaced) + len(st.absent)
	for _, p := range st.parts {
		if !p.placed {
			return "", nil
		}
		n += len(p.place)
	}
	positions := append(make([]cursor.Position, 0, n), st.absent...)
	positions = append(positions, st.unplaced...)
	for _, p := range st.parts {
		positions = append(positions, p.place...)
	}
	c, err := compose(st.since, positions)
	if c == nil || err != nil {
		return "", err
	}
	return st.rights.Cursor(c), nil
}

// tellAway tells the client which groups are away, or refuses to go on without them.
func (st *stream) tellAway() error {
	var away []string
	for _, p := range st.parts {
		if p.away(st.Timeout) {
			away = append(away, p.group.Name())
			if st.moved != nil {
				st.moved.passed(p.group.Name())
			}
		}
	}
	if st.refuse && len(away) > 0 {
		return refusal.Unavailable(&refusal.AwayError{Groups: away}, st.cursor)
	}
	if slices.Equal(away, st.away) {
		return nil
	}
	st.away = away
	content, _ := proto.Marshal(&metricsv1.Away{Groups: away}) // fails only for what is not UTF-8
	return st.send(fieldAway, content)
}

// bytes is about what the stream has in memory.
func (st *stream) bytes() int64 {
	n := int64(cap(st.out.wire))
	for _, p := range st.parts {
		n += p.bytes()
	}
	return n
}

// account counts the bytes of the stream. An error ends it, as others need them.
func (st *stream) account() error { return st.hold.Resize(max(0, st.bytes()-call.IncludedBytes)) }

// close ends all parts.
func (st *stream) close() {
	for _, p := range st.parts {
		p.stop()
	}
	st.hold.Release()
	st.movedHold.Release()
}
