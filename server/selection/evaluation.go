package selection

import (
	"context"
	"runtime"
	"time"

	"github.com/alecthomas/units"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// Limits bounds what selectors may cost.
type Limits struct {
	// SelectorSize of a request.
	SelectorSize int64
	// Evaluations of selectors that run at a time. Zero: one for two processors.
	Evaluations int
	// EvaluationTime that one of them may run in all.
	EvaluationTime time.Duration
	// EvaluationBytes that those of all calls may take.
	EvaluationBytes units.Base2Bytes
}

// DefaultLimits are far above what clients do.
func DefaultLimits() Limits {
	return Limits{SelectorSize: 20000, EvaluationTime: 10 * time.Second, EvaluationBytes: 128 * units.MiB}
}

// The flags of these limits.
const (
	FlagSelectorSize    = "--limit.selector-size"
	FlagEvaluations     = "--limit.evaluations"
	FlagEvaluationTime  = "--limit.evaluation-time"
	FlagEvaluationBytes = "--limit.evaluation-bytes"
)

// Evaluations are what matching, for all calls together, may take: of the
// processors, since applying blocks and sending must go on, and of the memory.
type Evaluations struct {
	config Limits
	turns  *limit.Budget
	room   *limit.Budget
}

// NewEvaluations shares out room, which is of [flagEvaluationBytes].
func NewEvaluations(c Limits, room *limit.Budget) *Evaluations {
	n := c.Evaluations
	if n == 0 {
		n = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return &Evaluations{config: c, turns: limit.NewBudget(FlagEvaluations, "evaluations", int64(n), 0), room: room}
}

// Running is how many have a turn, and waiting how many wait for one.
func (s *Evaluations) Running() int64 { return s.turns.Used() }
func (s *Evaluations) Waiting() int   { return s.turns.Waiting() }

// Evaluation is the matching of one call. While others wait it works in slices,
// between which they have their turns. It belongs to one goroutine.
//
// Matching one value is not interrupted. It takes about as long as the size of
// its selectors times the length of the value says.
type Evaluation struct {
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

// Begin starts the evaluation of a call. It has to be ended.
func (s *Evaluations) Begin(ctx context.Context, peer string) *Evaluation {
	e := s.Following(ctx, peer)
	e.selectorSize, e.most, e.room = s.config.SelectorSize, s.config.EvaluationTime, s.room.Hold(peer)
	return e
}

// Following is what a stream matches as it goes on. It has no limits but its
// turns: whatever it takes, only the stream itself is late.
func (s *Evaluations) Following(ctx context.Context, peer string) *Evaluation {
	return &Evaluation{ctx: ctx, turns: s.turns, turn: s.turns.Hold(peer)}
}

// Context of the call.
func (e *Evaluation) Context() context.Context { return e.ctx }

// End gives back all that the evaluation has. It may be called twice.
func (e *Evaluation) End() {
	e.Pause()
	if e.room != nil {
		e.room.Release()
	}
}

// Grow takes room for n more bytes.
func (e *Evaluation) Grow(n int64) error {
	if e.room == nil {
		return nil
	}
	return e.room.Grow(n)
}

// Step has to be called before work, in instructions that are looked at. It waits
// for the turn, and says when the evaluation has to be given up.
func (e *Evaluation) Step(work int64) error {
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

// Read says which view is read from now on, nil for none. What it pins while the
// evaluation waits takes room.
func (e *Evaluation) Read(v *head.View) {
	e.view = v
	if v == nil {
		e.Pause()
		_ = e.pin() // which gives it back
	}
}

func (e *Evaluation) pin() error {
	var n int64
	if e.view != nil {
		n = e.view.Pinned()
	}
	if err := e.Grow(n - e.pinned); err != nil {
		return err
	}
	e.pinned = n
	return nil
}

// StepSeries is step before the labels of one series are matched.
func (e *Evaluation) StepSeries(s *Selection, labels segment.Labels) error {
	longest := 1
	for _, l := range labels {
		longest = max(longest, len(l.Value))
	}
	return e.Step(s.Size * int64(longest))
}

// check looks at the clock, and gives the turn away if its slice is over.
func (e *Evaluation) check() error {
	if e.ctx.Err() != nil {
		return context.Cause(e.ctx)
	}
	slice := time.Since(e.began)
	if e.most > 0 && e.used+slice > e.most {
		return limit.Over(FlagEvaluationTime, "matching the selectors has taken more than %v", e.most)
	}
	if slice >= evaluationSlice && e.turns.Waiting() > 0 {
		e.Pause()
	}
	return nil
}

// Pause gives the turn away until the next step. Whoever may have to wait for
// something else does that first.
func (e *Evaluation) Pause() {
	if e.turn.Held() > 0 {
		e.used += time.Since(e.began)
		e.turn.Release()
	}
}
