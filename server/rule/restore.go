package rule

import (
	"context"
	"errors"
	"slices"
)

// errGone is of a cursor whose state cannot be evaluated again.
var errGone = errors.New("what its alerts and records came to cannot be evaluated here again, as it is not retained")

// restore evaluates again what a state that was decoded does not have. The error may be
// errGone: then what could not be found is left out.
func (e *evaluator) restore(ctx context.Context, s *state) error {
	complete := true
	for g := range s.groups {
		for _, at := range s.groups[g].toRestore() {
			ok, err := e.restoreStep(ctx, &s.groups[g], g, at)
			if err != nil {
				return err
			}
			complete = complete && ok
		}
	}
	if !complete {
		return errGone
	}
	return nil
}

// toRestore are the steps at which rules of a group came to what they are in now.
func (s *groupState) toRestore() []int64 {
	var steps []int64
	for i := range s.rules {
		if len(s.rules[i].alerts) == 0 && s.rules[i].evaluated != never {
			steps = append(steps, s.rules[i].evaluated)
		}
		for _, a := range s.rules[i].alerts {
			steps = append(steps, a.seen)
		}
	}
	slices.Sort(steps)
	return slices.Compact(steps)
}

// restoreStep evaluates a group at a step again, and says whether all was found.
func (e *evaluator) restoreStep(ctx context.Context, s *groupState, g int, at int64) (complete bool, err error) {
	group := e.file.groups[g]
	overlay := newOverlay(group)
	complete = true
	for i, r := range group.rules {
		of := &s.rules[i]
		if r.alert && !of.seenAt(at) {
			continue
		}
		is, err := e.rule(ctx, g, i, at, overlay)
		if err != nil {
			return false, err
		}
		overlay.add(r, is, at)
		switch {
		case r.alert:
			complete = of.found(is.seen, at) && complete
		case of.evaluated == at:
			of.series = is.series
			complete = complete && is.failed == nil
		}
	}
	return complete, nil
}

// seenAt says whether any alert was seen last at a step.
func (s *ruleState) seenAt(at int64) bool {
	for _, a := range s.alerts {
		if a.seen == at {
			return true
		}
	}
	return false
}

// found fills in the alerts that were seen last at a step. Those that were not found are
// forgotten.
func (s *ruleState) found(seen alerts, at int64) (all bool) {
	all = true
	for hash, a := range s.alerts {
		if a.seen != at {
			continue
		}
		is := seen[hash]
		if is == nil {
			delete(s.alerts, hash)
			all = false
			continue
		}
		a.labels, a.annotations, a.value = is.labels, is.annotations, is.value
	}
	return all
}
