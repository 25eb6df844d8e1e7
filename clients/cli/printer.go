package cli

import (
	"errors"
	"iter"

	"github.com/promgrpc/exporter/clients/cli/output"
	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
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
}

// print returns nil at the end of the stream and when the limit is reached.
func (p *printer) print(updates iter.Seq2[promgrpc.Update, error]) error {
	for u, err := range updates {
		if err != nil {
			return err
		}
		if done, err := p.update(u); done || err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) update(u promgrpc.Update) (done bool, err error) {
	if u.Rewound {
		warn(p.env, "the stream broke where it could not be resumed: some samples come twice")
	}
	if gap := u.GetGap(); gap != nil {
		warn(p.env, "samples are missing: log %s, after block %d and before %d: %s",
			gap.GetLogId(), gap.GetAfterSequence(), gap.GetNextSequence(), gap.GetReason())
	}
	p.progress.Update(u.GetMetricsResponse)
	series := u.GetTimeseries()
	if p.limit > 0 {
		series, done = p.limited(series)
	}
	if err := p.output.Series(series); err != nil {
		return false, err
	}
	if !done {
		if err := p.output.Event(u.GetMetricsResponse, u.Rewound); err != nil {
			return false, err
		}
	}
	if u.GetCursor() != "" {
		p.file.cursor = u.GetCursor()
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
