package promapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

func (a *API) series(r *request) (*answer, error) {
	if len(r.Values[match]) == 0 {
		return nil, bad("no " + match + " parameter provided")
	}
	room := rooms{take: r.caller.Room}
	var found []labels.Labels
	limit, err := a.eachSeries(r, match, func(ls labels.Labels) error {
		found = append(found, ls)
		return room.add(entryCost + int64(ls.ByteSize()))
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, labels.Compare)
	found, warnings := firstOf(found, limit)
	return &answer{
		data:     func(e *encoder) { e.list(len(found), func(i int) { e.labels(found[i]) }) },
		warnings: warnings,
	}, nil
}

func (a *API) labelNames(r *request) (*answer, error) {
	return a.collect(r, func(ls labels.Labels, add func(string) error) error {
		var err error
		ls.Range(func(l labels.Label) {
			if err == nil {
				err = add(l.Name)
			}
		})
		return err
	})
}

// labelOf returns the label of a path to its values.
func labelOf(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "label/")
	if !ok {
		return "", false
	}
	name, ok := strings.CutSuffix(rest, "/values")
	return name, ok && name != ""
}

func (a *API) labelValues(r *request) (*answer, error) {
	name := r.label
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return nil, &failure{status: http.StatusBadRequest, kind: badData, text: `invalid label name: "` + excerpt(name) + `"`}
	}
	return a.collect(r, func(ls labels.Labels, add func(string) error) error {
		if value := ls.Get(name); value != "" {
			return add(value)
		}
		return nil
	})
}

// collect answers with the distinct strings that the series of a request have.
func (a *API) collect(r *request, of func(ls labels.Labels, add func(string) error) error) (*answer, error) {
	room := rooms{take: r.caller.Room}
	seen := map[string]struct{}{}
	add := func(s string) error {
		if _, known := seen[s]; known {
			return nil
		}
		s = strings.Clone(s) // not the labels around it
		seen[s] = struct{}{}
		return room.add(entryCost + int64(len(s)))
	}
	limit, err := a.eachSeries(r, "", func(ls labels.Labels) error { return of(ls, add) })
	if err != nil {
		return nil, err
	}
	found, warnings := firstOf(slices.Sorted(maps.Keys(seen)), limit)
	return &answer{
		data:     func(e *encoder) { e.list(len(found), func(i int) { e.text(found[i]) }) },
		warnings: warnings,
	}, nil
}

// firstOf returns as many entries as are wanted, 0 being all, and a warning if there are
// more.
func firstOf[T any](list []T, limit int) (first []T, warnings []string) {
	if limit > 0 && len(list) > limit {
		return list[:limit], []string{errTruncated.Error()}
	}
	return list, nil
}

// eachSeries calls yield with the labels of each series that a request is about, and
// returns how many entries are wanted. Errors in selectors are about a parameter.
func (a *API) eachSeries(r *request, parameter string, yield func(labels.Labels) error) (limit int, err error) {
	if limit, err = r.limit(); err != nil {
		return 0, err
	}
	start, end, err := r.between()
	if err != nil {
		return 0, err
	}
	sets, err := a.matchers(r, parameter)
	if err != nil {
		return 0, err
	}
	if err := a.Serving(); err != nil {
		return 0, err
	}
	return limit, a.Engine.Series(r.ctx, r.caller.Viewer, sets, start, end, yield)
}

// entryCost is what an entry takes besides its bytes.
const entryCost = 96

// rooms takes the room of an answer that grows, in steps.
type rooms struct {
	take        func(bytes int64) error
	need, taken int64
}

func (r *rooms) add(bytes int64) error {
	r.need += bytes
	if r.need <= r.taken {
		return nil
	}
	const step = 64 << 10
	r.taken = (r.need + step - 1) / step * step
	return r.take(r.taken)
}
