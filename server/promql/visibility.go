package promql

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/samples"
)

// With a delay, a step sees the samples that arrived before it plus the delay. The engine
// evaluates many steps at once with one set of samples. That is the same where no sample
// arrives between the steps that may read it: so the samples are looked through first,
// and the range is cut where one arrived too late for a step.

// apart says whether each step has to be evaluated on its own: where an expression reads
// samples from after the step, or asks for the range of steps.
func apart(expr parser.Expr) bool {
	found := false
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			found = found || n.Timestamp != nil || n.StartOrEnd != 0 || n.OriginalOffset < 0 || n.OriginalOffsetExpr != nil
		case *parser.MatrixSelector:
			found = found || n.RangeExpr != nil
		case *parser.SubqueryExpr:
			found = found || n.Timestamp != nil || n.StartOrEnd != 0 || n.OriginalOffset < 0 || n.OriginalOffsetExpr != nil ||
				n.RangeExpr != nil || n.StepExpr != nil
		case *parser.Call:
			found = found || slices.Contains([]string{"start", "end", "range", "step", "info"}, n.Func.Name)
		}
		return nil
	})
	return found
}

// orderMatters are aggregations whose result depends on the order of what they aggregate:
// in its last bits, or in which of equals it is.
var orderMatters = []parser.ItemType{parser.SUM, parser.AVG, parser.STDDEV, parser.STDVAR, parser.TOPK, parser.BOTTOMK}

// unordered says whether an expression aggregates what the engine has in the order of a
// map where it evaluates several steps at once: all but what has the order of selectors.
func unordered(expr parser.Expr) bool {
	found := false
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if a, ok := node.(*parser.AggregateExpr); ok && slices.Contains(orderMatters, a.Op) {
			found = found || !hasOrder(a.Expr)
		}
		return nil
	})
	return found
}

// hasOrder says whether what an expression results in has the order of a selector.
func hasOrder(expr parser.Expr) bool {
	switch x := unwrapped(expr).(type) {
	case *parser.VectorSelector:
		return true
	case *parser.Call:
		return slices.ContainsFunc(x.Args, func(arg parser.Expr) bool {
			_, ok := unwrapped(arg).(*parser.MatrixSelector)
			return ok
		})
	}
	return false
}

// cutError says after which steps a range has to be cut.
type cutError struct{ after []int64 }

func (e *cutError) Error() string {
	return fmt.Sprintf("samples arrived between steps, after %v", e.after)
}

// scan looks for samples that arrived between the steps of the run, which is an error if
// it is of several steps, and counts those that arrived late.
func (r *reading) scan(all []series, hints *storage.SelectHints) error {
	if r.options.Delay == nil {
		return nil
	}
	l := lookout{
		run: r.run, delay: r.options.Delay.Milliseconds(), late: r.options.Late,
		youngest: r.run.end - hints.End, oldest: r.run.start - hints.Start,
	}
	for _, s := range all {
		if err := l.scan(s.of); err != nil {
			return err
		}
	}
	if len(l.cuts) > 0 {
		slices.Sort(l.cuts)
		return &cutError{slices.Compact(l.cuts)}
	}
	r.late += l.counted
	return nil
}

// lookout looks through the samples of a selector. A step reads those that are at least
// as much before it as the youngest, and at most as much as the oldest.
type lookout struct {
	run              span
	delay, late      int64
	youngest, oldest int64
	cuts             []int64
	counted          uint64
	candidates       []candidate
	it               samples.Iterator
}

// candidate is a sample that may have been late, and the first step that saw it.
type candidate struct{ step, timestamp int64 }

func (l *lookout) scan(s *samples.Series) error {
	l.candidates = l.candidates[:0]
	for i := range s.Parts {
		p := &s.Parts[i]
		if p.Always {
			continue
		}
		for j := range p.Chunks {
			if longestLag(p.Chunks[j].Lags)*1000 < l.delay {
				continue // all steps after a sample see it
			}
			if err := l.scanChunk(p, p.Chunks[j:j+1]); err != nil {
				return err
			}
		}
	}
	if len(l.candidates) == 0 {
		return nil
	}
	return l.count(s)
}

// longestLag returns the longest of some lags, or more if they are damaged.
func longestLag(lags []byte) int64 {
	longest := uint64(0)
	for len(lags) > 0 {
		lag, n := uint64(lags[0]), 1
		if lag >= 0x80 {
			if lag, n = binary.Uvarint(lags); n <= 0 {
				return 1 << 32
			}
		}
		longest, lags = max(longest, lag), lags[n:]
	}
	return int64(min(longest, 1<<32))
}

func (l *lookout) scanChunk(p *samples.Part, c []chunk.Chunk) error {
	first, last := max(p.From, l.run.start-l.oldest), min(p.To, l.run.end-l.youngest)
	it := chunk.NewIterator(c, chunk.All)
	for kind := it.Seek(first); kind != chunkenc.ValNone && it.AtT() <= last; kind = it.Next() {
		l.sample(it.AtT(), it.Arrival())
	}
	return it.Err()
}

// sample notes what a sample means for the steps.
func (l *lookout) sample(t, arrival int64) {
	if step := l.run.step; step > 0 {
		// The last step that did not see it.
		blind := l.run.start + floorDiv(arrival-l.delay-l.run.start, step)*step
		if blind >= max(l.run.start, t+l.youngest) && blind < l.run.end {
			l.cuts = append(l.cuts, blind)
		}
	}
	if step := l.late; step > 0 {
		seen := l.run.start + (floorDiv(arrival-l.delay-l.run.start, step)+1)*step
		if seen >= l.run.start && seen <= l.run.end && t <= seen-step && t >= seen-l.oldest && t <= seen-l.youngest {
			l.candidates = append(l.candidates, candidate{seen, t})
		}
	}
}

// count counts the candidates that their steps read: not those in whose place there is
// another sample.
func (l *lookout) count(s *samples.Series) error {
	slices.SortFunc(l.candidates, func(a, b candidate) int {
		if a.step != b.step {
			return int(max(-1, min(1, a.step-b.step)))
		}
		return int(max(-1, min(1, a.timestamp-b.timestamp)))
	})
	step := int64(0)
	for i, c := range slices.Compact(l.candidates) {
		if i == 0 || c.step != step {
			step = c.step
			l.it.Reset(s.Parts, step+l.delay)
		}
		if l.it.Seek(c.timestamp) != chunkenc.ValNone && l.it.AtT() == c.timestamp && l.it.Arrival() >= step-l.late+l.delay {
			l.counted++
		}
	}
	return l.it.Err()
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
