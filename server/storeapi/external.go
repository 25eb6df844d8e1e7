package storeapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/promgrpc/exporter/internal/segment"
)

// FlagLabel is for the labels that the server adds to every series.
const FlagLabel = "--store.label"

// External are the labels that a server adds to every series, sorted by name. A series' own
// label of such a name gives way.
type External struct{ list segment.Labels }

// replicaLabel tells the replicas of a pipeline apart.
const replicaLabel = "replica"

// ParseExternal reads labels that are written as NAME=VALUE. Unless they name the replica,
// it is the server's name; it is left out if its value is empty.
func ParseExternal(texts []string, instance string) (External, error) {
	values := map[string]string{replicaLabel: instance}
	seen := map[string]bool{}
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		switch {
		case !ok || value == "" && name != replicaLabel:
			return External{}, fmt.Errorf("%q is not NAME=VALUE", text)
		case !model.UTF8Validation.IsValidLabelName(name) || name == model.MetricNameLabel:
			return External{}, fmt.Errorf("%q is not the name of a label that series may be given", name)
		case !model.LabelValue(value).IsValid():
			return External{}, fmt.Errorf("the value of %q is not UTF-8", name)
		case seen[name]:
			return External{}, fmt.Errorf("%q is there twice", name)
		}
		values[name], seen[name] = value, true
	}
	var e External
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if values[name] != "" {
			e.list = append(e.list, segment.Label{Name: name, Value: values[name]})
		}
	}
	return e, nil
}

// value returns the value of a label, "" if there is none.
func (e *External) value(name string) string {
	for _, l := range e.list {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

// relabelling is what becomes of the labels of series on their way out.
type relabelling struct {
	added   segment.Labels      // sorted by name
	removed map[string]struct{} // names
}

// without returns what becomes of labels if some names are not wanted.
func (e *External) without(names []string) relabelling {
	r := relabelling{removed: make(map[string]struct{}, len(names)+len(e.list))}
	for _, name := range names {
		r.removed[name] = struct{}{}
	}
	for _, l := range e.list {
		if _, unwanted := r.removed[l.Name]; !unwanted {
			r.added = append(r.added, l)
		}
	}
	for _, l := range e.list {
		r.removed[l.Name] = struct{}{}
	}
	return r
}
