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

// Evaluations bound what matching takes for all calls together: of the processors,
// since blocks have to be applied and responses sent meanwhile, and of the memory.
type Evaluations struct {
	config Limits
	turns  *limit.Budget
	room   *limit.Budget
}

// NewEvaluations returns those that share room, which is of [FlagEvaluationBytes].
func NewEvaluations(c Limits, room *limit.Budget) *Evaluations {
	n := c.Evaluations
	if n == 0 {
		n = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return &Evaluations{config: c, turns: limit.NewBudget(FlagEvaluations, "evaluations", int64(n), 0), room: room}
}

// Running is how many have a turn, and Waiting how many wait for one.
func (s *Evaluations) Running() int64 { return s.turns.Used() }
func (s *Evaluations) Waiting() int   { return s.turns.Waiting() }

// Evaluation is the matching of one call. While others wait for their turns, it works
// in slices of time. It belongs to one goroutine.
type Evaluation struct {
	ctx   context.Context
	turns *limit.Budget
	turn  *limit.Hold
	room  *limit.Hold
	// selectorSize that the selectors of the call may have
	selectorSize int64
	allowed      *Selection    // what its caller may see; nil: all series
	most         time.Duration // in all; 0: as long as it takes
	used         time.Duration // in the slices before this one
	began        time.Time     // of the slice
	unchecked    int64         // work since the clock was checked

	view   *head.View // what it reads
	pinned int64      // bytes that the view keeps in memory
}

const (
	// evaluationSlice is how long one works while others wait.
	evaluationSlice = 20 * time.Millisecond
	// evaluationStep is the work after which the clock is checked. It takes some
	// milliseconds at most, since a program runs each instruction once for a byte at
	// most.
	evaluationStep = 1 << 19
	// evaluationRoom is what one takes at least, if there are selectors.
	evaluationRoom = 16 << 10
)

// Viewer is who selects series.
type Viewer struct {
	Peer string
	// Allowed is what it may see, nil for all series.
	Allowed *Selection
	// Memory that it shares with others besides that of all calls, nil for none.
	Memory *limit.Budget
}

// New returns the evaluation of a call. It has to be ended.
func (s *Evaluations) New(ctx context.Context, v Viewer) *Evaluation {
	e := s.Unlimited(ctx, v.Peer)
	e.selectorSize, e.most, e.room = s.config.SelectorSize, s.config.EvaluationTime, s.room.Hold(v.Peer).With(v.Memory)
	e.allowed = v.Allowed
	return e
}

// Unlimited returns the evaluation of a stream that has started. It has no limits but
// its turns: if it takes long, only the stream itself is late.
func (s *Evaluations) Unlimited(ctx context.Context, peer string) *Evaluation {
	return &Evaluation{ctx: ctx, turns: s.turns, turn: s.turns.Hold(peer)}
}

// Context of the call.
func (e *Evaluation) Context() context.Context { return e.ctx }

// End releases all that the evaluation holds. It may be called twice.
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

// Step has to be called before so much work, in instructions that are run. It waits
// for a turn. An error says that the evaluation has to be given up.
func (e *Evaluation) Step(work int64) error {
	e.unchecked += work
	if e.turn.Held() > 0 && e.unchecked < evaluationStep {
		return nil
	}
	e.unchecked = 0
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

// Read says which view is read from now on, nil for none. What the view pins while
// the evaluation waits takes room.
func (e *Evaluation) Read(v *head.View) {
	e.view = v
	if v == nil {
		e.Pause()
		_ = e.pin() // releases its room
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

// StepSeries is Step before the labels of one series are matched.
func (e *Evaluation) StepSeries(s *Selection, labels segment.Labels) error {
	longest := 1
	for _, l := range labels {
		longest = max(longest, len(l.Value))
	}
	return e.Step(s.Size * int64(longest))
}

// check checks the clock, and passes the turn on if the slice is over.
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

// Pause passes the turn on until the next step. It has to be called before waiting for
// anything else.
func (e *Evaluation) Pause() {
	if e.turn.Held() > 0 {
		e.used += time.Since(e.began)
		e.turn.Release()
	}
}
