package promapi

import "github.com/promgrpc/exporter/server/samples"

func (a *API) exemplars(r *request) (*answer, error) {
	start, end, err := r.between()
	if err != nil {
		return nil, err
	}
	if end < start {
		return nil, bad("end timestamp must not be before start timestamp")
	}
	x, err := a.parse(r, "")
	if err != nil {
		return nil, err
	}
	if len(x.Selectors()) == 0 {
		return &answer{}, nil
	}
	if err := a.Serving(); err != nil {
		return nil, err
	}
	found, err := a.Engine.Exemplars(r.ctx, r.caller.Viewer, x, start, end)
	if err != nil {
		return nil, err
	}
	return &answer{data: func(e *encoder) { e.list(len(found), func(i int) { e.exemplarsOf(&found[i]) }) }}, nil
}

func (e *encoder) exemplarsOf(s *samples.ExemplarSeries) {
	e.raw(`{"seriesLabels":`)
	e.labels(s.Labels)
	e.raw(`,"exemplars":`)
	e.list(len(s.Exemplars), func(i int) {
		x := &s.Exemplars[i]
		e.raw(`{"labels":`)
		e.labels(x.Labels)
		e.raw(`,"value":`)
		e.float(x.Value)
		e.raw(`,"timestamp":`)
		e.timestamp(x.Ts)
		e.raw("}")
	})
	e.raw("}")
}
