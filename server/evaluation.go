package server

import (
	"context"
	"runtime"
	"time"

	"github.com/alecthomas/units"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// selectionLimits bounds what selectors may cost.
type selectionLimits struct {
	// SelectorSize of a request.
	SelectorSize int64
	// Evaluations of selectors that run at a time. Zero: one for two processors.
	Evaluations int
	// EvaluationTime that one of them may run in all.
	EvaluationTime time.Duration
	// EvaluationBytes that those of all calls may take.
	EvaluationBytes units.Base2Bytes
}

// defaultSelectionLimits are far above what clients do.
func defaultSelectionLimits() selectionLimits {
	return selectionLimits{SelectorSize: 20000, EvaluationTime: 10 * time.Second, EvaluationBytes: 128 * units.MiB}
}

// The flags of these limits.
const (
	flagSelectorSize    = "--limit.selector-size"
	flagEvaluations     = "--limit.evaluations"
	flagEvaluationTime  = "--limit.evaluation-time"
	flagEvaluationBytes = "--limit.evaluation-bytes"
)

// evaluations are what matching, for all calls together, may take: of the
// processors, since applying blocks and sending must go on, and of the memory.
type evaluations struct {
	config selectionLimits
	turns  *limit.Budget
	room   *limit.Budget
}

// newEvaluations shares out room, which is of [flagEvaluationBytes].
func newEvaluations(c selectionLimits, room *limit.Budget) *evaluations {
	n := c.Evaluations
	if n == 0 {
		n = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return &evaluations{config: c, turns: limit.NewBudget(flagEvaluations, "evaluations", int64(n), 0), room: room}
}

// running is how many have a turn, and waiting how many wait for one.
func (s *evaluations) running() int64 { return s.turns.Used() }
func (s *evaluations) waiting() int   { return s.turns.Waiting() }

// evaluation is the matching of one call. While others wait it works in slices,
// between which they have their turns. It belongs to one goroutine.
//
// Matching one value is not interrupted. It takes about as long as the size of
// its selectors times the length of the value says.
type evaluation struct {
	ctx   context.Context
	turns *limit.Budget
	turn  *limit.Hold
	room  *limit.Hold
	// selectorSize that the selectors of the call may have
	selectorSize int64
	most         time.Duration // in all; 0: as long as it takes
	used         time.Duration // in the slices before
	began        time.Time     // of the slice
	pending      int64         // work since the clock was looked at

	view   *head.View // that it reads
	pinned int64      // bytes that this keeps in memory
}

const (
	// evaluationSlice is for how long one works while others wait.
	evaluationSlice = 20 * time.Millisecond
	// evaluationStep is the work after which it looks at the clock. It is some
	// milliseconds at most, as a program's instructions are looked at for each
	// byte at most.
	evaluationStep = 1 << 19
	// evaluationRoom is what one takes at least, if there are selectors.
	evaluationRoom = 16 << 10
)

// begin starts the evaluation of a call. It has to be ended.
func (s *evaluations) begin(ctx context.Context, peer string) *evaluation {
	e := s.following(ctx, peer)
	e.selectorSize, e.most, e.room = s.config.SelectorSize, s.config.EvaluationTime, s.room.Hold(peer)
	return e
}

// following is what a stream matches as it goes on. It has no limits but its
// turns: whatever it takes, only the stream itself is late.
func (s *evaluations) following(ctx context.Context, peer string) *evaluation {
	return &evaluation{ctx: ctx, turns: s.turns, turn: s.turns.Hold(peer)}
}

// context of the call.
func (e *evaluation) context() context.Context { return e.ctx }

// end gives back all that the evaluation has. It may be called twice.
func (e *evaluation) end() {
	e.pause()
	if e.room != nil {
		e.room.Release()
	}
}

// grow takes room for n more bytes.
func (e *evaluation) grow(n int64) error {
	if e.room == nil {
		return nil
	}
	return e.room.Grow(n)
}

// step has to be called before work, in instructions that are looked at. It waits
// for the turn, and says when the evaluation has to be given up.
func (e *evaluation) step(work int64) error {
	e.pending += work
	if e.turn.Held() > 0 && e.pending < evaluationStep {
		return nil
	}
	e.pending = 0
	if e.turn.Held() > 0 {
		if err := e.check(); err != nil {
			return err
		}
	}
	if e.turn.Held() == 0 {
		if err := e.turn.Wait(e.ctx, 1); err != nil {
			return err
		}
		e.began = time.Now()
		return e.pin()
	}
	return nil
}

// read says which view is read from now on, nil for none. What it pins while the
// evaluation waits takes room.
func (e *evaluation) read(v *head.View) {
	e.view = v
	if v == nil {
		e.pause()
		_ = e.pin() // which gives it back
	}
}

func (e *evaluation) pin() error {
	var n int64
	if e.view != nil {
		n = e.view.Pinned()
	}
	if err := e.grow(n - e.pinned); err != nil {
		return err
	}
	e.pinned = n
	return nil
}

// stepSeries is step before the labels of one series are matched.
func (e *evaluation) stepSeries(s *selection, labels segment.Labels) error {
	longest := 1
	for _, l := range labels {
		longest = max(longest, len(l.Value))
	}
	return e.step(s.size * int64(longest))
}

// check looks at the clock, and gives the turn away if its slice is over.
func (e *evaluation) check() error {
	if e.ctx.Err() != nil {
		return context.Cause(e.ctx)
	}
	slice := time.Since(e.began)
	if e.most > 0 && e.used+slice > e.most {
		return limit.Over(flagEvaluationTime, "matching the selectors has taken more than %v", e.most)
	}
	if slice >= evaluationSlice && e.turns.Waiting() > 0 {
		e.pause()
	}
	return nil
}

// pause gives the turn away until the next step. Whoever may have to wait for
// something else does that first.
func (e *evaluation) pause() {
	if e.turn.Held() > 0 {
		e.used += time.Since(e.began)
		e.turn.Release()
	}
}
