package cli

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/promgrpc/exporter/clients/cli/output"
	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// printer prints a stream and saves its cursor.
type printer struct {
	env      environment
	output   output.Output
	file     *cursorFile
	limit    int  // samples; 0 means none
	eager    bool // flush each response
	heldBack bool // the output holds everything back until finish
	progress *output.Progress
	printed  int

	annotations map[string]bool // that were told
	late        uint64          // samples that came too late for their step
}

// part is a part of a stream, as far as it is printed.
type part struct {
	series []*metricsv1.TimeSeries
	event  output.Event
}

// partsOfUpdates returns what is printed of a Get.
func partsOfUpdates(updates iter.Seq2[promgrpc.Update, error]) iter.Seq2[part, error] {
	return func(yield func(part, error) bool) {
		for u, err := range updates {
			if err != nil {
				yield(part{}, err)
				return
			}
			if !yield(part{u.GetTimeseries(), output.EventOf(u.GetMetricsResponse, u.Rewound)}, nil) {
				return
			}
		}
	}
}

// print returns nil at the end of the stream and when the limit is reached.
func (p *printer) print(parts iter.Seq2[part, error]) error {
	for next, err := range parts {
		if err != nil {
			return err
		}
		if done, err := p.update(next); done || err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) update(next part) (done bool, err error) {
	p.tell(next.event)
	p.progress.Update(next.series)
	series := next.series
	if p.limit > 0 {
		series, done = p.limited(series)
	}
	if err := p.output.Series(series); err != nil {
		return false, err
	}
	if !done {
		if err := p.output.Event(next.event); err != nil {
			return false, err
		}
	}
	if next.event.Cursor != "" {
		p.file.cursor = next.event.Cursor
	}
	due := p.file.due() && !p.heldBack
	if p.eager || due {
		if err := p.output.Flush(); err != nil {
			return false, err
		}
	}
	if due {
		return done, p.file.save()
	}
	return done, nil
}

// tell warns of what an event says about the series.
func (p *printer) tell(e output.Event) {
	if e.Rewound {
		warn(p.env, "the stream broke where it could not be resumed: some samples come twice")
	}
	if gap := e.Gap; gap != nil {
		warn(p.env, "samples are missing: log %s, after block %d and before %d: %s",
			gap.GetLogId(), gap.GetAfterSequence(), gap.GetNextSequence(), gap.GetReason())
	}
	tellAway(p.env, e.Away)
	if e.Steps != nil {
		p.late += e.Steps.Late
		for _, a := range e.Steps.Annotations {
			p.annotate(a)
		}
	}
}

// tellAway warns of groups that are away, and says when all are back.
func tellAway(env environment, away *metricsv1.Away) {
	switch groups := away.GetGroups(); {
	case len(groups) > 0:
		warn(env, "no server answers of: %s. What they have comes when they are back", strings.Join(groups, ", "))
	case away != nil:
		warn(env, "all groups answer again")
	}
}

// maxAnnotations bounds how many are remembered, each of which is told once.
const maxAnnotations = 1000

func (p *printer) annotate(a *queryv1.Annotation) {
	severity := output.Severity(a.GetSeverity())
	key := severity + " " + a.GetText()
	if p.annotations[key] || len(p.annotations) == maxAnnotations {
		return
	}
	if p.annotations == nil {
		p.annotations = map[string]bool{}
	}
	p.annotations[key] = true
	_, _ = fmt.Fprintf(p.env.stderr, "%s: %s: %s\n", program, severity, strings.TrimPrefix(a.GetText(), "PromQL "+severity+": "))
}

// limited cuts off what is beyond the limit, and reports whether it is reached.
func (p *printer) limited(all []*metricsv1.TimeSeries) ([]*metricsv1.TimeSeries, bool) {
	for i, s := range all {
		floats := min(len(s.GetSamples()), p.limit-p.printed)
		p.printed += floats
		histograms := min(len(s.GetHistograms()), p.limit-p.printed)
		p.printed += histograms
		if p.printed == p.limit {
			s.Samples, s.Histograms = s.GetSamples()[:floats], s.GetHistograms()[:histograms]
			return all[:i+1], true
		}
	}
	return all, false
}

// finish completes the output and saves the cursor. After a failure it only flushes:
// a document with an end must not get it.
func (p *printer) finish(cause error) error {
	p.progress.Clear()
	defer warnOmitted(p.env, p.output) // Close may add to it
	if p.late > 0 {
		warn(p.env, "%d samples came too late for the first step that could have had them: a longer --delay waits for them", p.late)
	}
	if cause != nil {
		// What nobody read was not printed.
		if p.output.Flush() != nil || p.heldBack || errors.Is(cause, output.ErrReaderGone) {
			return cause
		}
		return errors.Join(cause, p.file.save())
	}
	if err := p.output.Close(); err != nil {
		return err
	}
	return p.file.save()
}

// warnOmitted says at the end of a run what the output has left out.
func warnOmitted(env environment, o output.Output) {
	if omitted := o.Omitted(); omitted != "" {
		warn(env, "left out, since the format cannot express them: %s; --output proto has everything", omitted)
	}
}
