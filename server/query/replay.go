package query

import (
	"context"

	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/promql"
)

// Steps that were due before are evaluated as ranges, whose length adapts to what they
// come to. Labels come once in each.
const (
	mostSteps  = 512
	mostValues = 20000
)

// replay sends the next steps up to one that is due.
func (s *subscription) replay(due int64) error {
	n := int(min(int64(s.batch), (due-s.next)/s.step+1))
	all, err := s.evaluate(s.next, n)
	for err != nil && n > 1 && s.ctx.Err() == nil {
		// Of a range that is too large, or in which a step fails, the steps before that
		// one are sent all the same.
		n /= 2
		s.batch = n
		all, err = s.evaluate(s.next, n)
	}
	if err != nil {
		return err
	}
	last := all[n-1]
	if err := s.send(batch(s.before, all, s.onChange, s.at(last.time))); err != nil {
		return err
	}
	values := 0
	for i := range all {
		values += len(all[i].samples)
	}
	switch {
	case values > 2*mostValues:
		s.batch = max(1, n/2)
	case values < mostValues/2 && n == s.batch:
		s.batch = min(2*n, mostSteps)
	}
	s.came(n, &last, nil)
	return s.account(last.bytes())
}

// evaluate evaluates n steps for this stream alone.
func (s *subscription) evaluate(first int64, n int) (all []step, err error) {
	s.queries.metrics.evaluations.WithLabelValues("replay").Inc()
	err = s.while(func(ctx context.Context) error {
		result, err := s.queries.Engine.Evaluate(ctx, s.expression, first, first+int64(n-1)*s.step, s.step, promql.Options{
			Viewer: s.viewer, Delay: &s.delay, Lookback: s.lookback, Late: s.step,
		})
		if err != nil {
			return s.failed(first, err)
		}
		all = steps(result, s.expression.Text(), first, s.step, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	bytes := int64(0)
	for i := range all {
		bytes += 2 * all[i].bytes()
	}
	return all, s.account(bytes)
}

// account counts what is the stream's own.
func (s *subscription) account(bytes int64) error {
	return s.hold.Resize(max(0, bytes+s.introduced.Bytes()-call.IncludedBytes))
}
