package rule

import (
	"context"
	"errors"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/refusal"
)

// asker evaluates what templates of a rule ask for, at the step of the rule.
type asker struct {
	*evaluator
	group, rule int
	at          int64
	overlay     *overlay
	// failure is an error of one of them that must not become a part of a label, since it is
	// none of what was asked: it may go well when it is tried again, or with other rules.
	failure error
}

func (e *evaluator) asker(group, rule int, at int64, of *overlay) *asker {
	return &asker{evaluator: e, group: group, rule: rule, at: at, overlay: of}
}

// query is the function of that name.
func (a *asker) query(ctx context.Context, text string, _ time.Time) (promql.Vector, error) {
	vector, err := a.ask(ctx, text)
	var over *limit.Error
	return vector, a.noted(err, errors.As(err, &over) || errors.Is(err, errReadsFailed))
}

func (a *asker) ask(ctx context.Context, text string) (promql.Vector, error) {
	x, err := a.engine.Parse(ctx, a.viewer, text)
	if err != nil {
		return nil, err
	}
	for _, s := range x.Selectors() {
		if err := a.file.checkRead(a.group, a.rule, &s); err != nil {
			return nil, err
		}
	}
	vector, _, err := a.evaluate(ctx, a.group, x, a.at, a.overlay)
	return vector, err
}

// pattern says whether a regular expression of a template may be compiled: where it may in
// an expression.
func (a *asker) pattern(ctx context.Context, re string) error {
	_, err := a.engine.Parse(ctx, a.viewer, `label_replace(vector(0), "a", "", "b", `+strconv.Quote(re)+`)`)
	return a.noted(err, false)
}

func (a *asker) noted(err error, fails bool) error {
	if a.failure == nil && (fails || passes(err)) {
		a.failure = err
	}
	return err
}

// passes says whether what fails may go well when it is tried again, or elsewhere.
func passes(err error) bool {
	var over *limit.Error
	var damage *seglog.DamageError
	var away *refusal.AwayError
	var told *connect.Error // by a group of a router
	switch {
	case errors.As(err, &away):
		return true
	case errors.As(err, &told):
		return told.Code() != connect.CodeInvalidArgument
	case errors.As(err, &over):
		return over.Passing
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, seglog.ErrClosed), errors.Is(err, seglog.ErrRemote):
		return true
	}
	return errors.As(err, &damage)
}
