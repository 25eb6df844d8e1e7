package promapi

import (
	"maps"
	"slices"
	"strconv"

	"github.com/promgrpc/exporter/internal/segment"
)

// typeNames of metric families, by the numbers of remote write.
var typeNames = []string{"unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"}

func (a *API) metadata(r *request) (*answer, error) {
	limit, err := r.most("limit")
	if err != nil {
		return nil, err
	}
	each, err := r.most("limit_per_metric")
	if err != nil {
		return nil, err
	}
	if err := a.Serving(); err != nil {
		return nil, err
	}
	families := map[string][]segment.Metadata{}
	err = a.Families(r.ctx, r.Get("metric"), func(take func(int64) error) func(*segment.Metadata) error {
		room := rooms{take: take}
		return func(m *segment.Metadata) error {
			known := families[m.Family]
			if slices.Contains(known, *m) || each > 0 && len(known) >= each {
				return nil
			}
			families[m.Family] = append(known, *m)
			return room.add(entryCost + int64(len(m.Family)+len(m.Help)+len(m.Unit)))
		}
	})
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(families))
	if limit >= 0 && len(names) > limit {
		names = names[:limit]
	}
	return &answer{data: func(e *encoder) {
		e.object(names, func(name string) {
			list := families[name]
			e.list(len(list), func(i int) { e.family(&list[i]) })
		})
	}}, nil
}

// most returns a number that metadata is limited by, -1 for no limit.
func (r *request) most(parameter string) (int, error) {
	text := r.Get(parameter)
	if text == "" {
		return -1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, bad(parameter + " must be a number")
	}
	return n, nil
}

// object appends an object of names, and writes meanwhile.
func (e *encoder) object(names []string, value func(name string)) {
	e.raw("{")
	for i, name := range names {
		if i > 0 {
			e.raw(",")
		}
		e.text(name)
		e.raw(":")
		value(name)
		if !e.flush() {
			return
		}
	}
	e.raw("}")
}

func (e *encoder) family(m *segment.Metadata) {
	name := typeNames[0]
	if i := int(m.Type); i > 0 && i < len(typeNames) {
		name = typeNames[i]
	}
	e.raw(`{"type":`)
	e.text(name)
	e.raw(`,"unit":`)
	e.text(m.Unit)
	e.raw(`,"help":`)
	e.text(m.Help)
	e.raw("}")
}
