package placement

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxName is the longest name of a group.
const maxName = 64

// maxLabels is how many may decide.
const maxLabels = 32

// New makes a placement. Labels are sorted and only for [ByLabels], epochs are ascending,
// and their groups sorted.
func New(version uint64, by Spread, labels []string, epochs []Epoch) (*Placement, error) {
	if version == 0 {
		return nil, errors.New("the version has to be 1 or more")
	}
	if err := checkSpread(by, labels); err != nil {
		return nil, err
	}
	if len(epochs) == 0 {
		return nil, errors.New("there are no epochs")
	}
	for i, e := range epochs {
		if err := checkEpoch(epochs[:i], e); err != nil {
			return nil, fmt.Errorf("epoch %d: %w", i+1, err)
		}
	}
	p := &Placement{version: version, spread: by, labels: slices.Clone(labels)}
	for _, e := range epochs {
		p.groups = append(p.groups, e.Groups...)
	}
	slices.Sort(p.groups)
	p.groups = slices.Compact(p.groups)
	for _, e := range epochs {
		p.epochs = append(p.epochs, &epoch{Epoch: Epoch{e.From, slices.Clone(e.Groups)}, own: p.indexes(e.Groups)})
	}
	if err := p.encode(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Placement) indexes(groups []string) (own []uint16) {
	for _, name := range groups {
		i, _ := slices.BinarySearch(p.groups, name)
		own = append(own, uint16(i)) // Their names would not fit into MaxBytes if they were more.
	}
	return own
}

func checkSpread(by Spread, labels []string) error {
	switch {
	case by < ByLabels || by > ByTenant:
		return fmt.Errorf("spread %d is not known", by)
	case len(labels) > maxLabels:
		return fmt.Errorf("there are %d labels, at most %d are allowed", len(labels), maxLabels)
	case (by == ByLabels) != (len(labels) > 0):
		return errors.New("labels are for a spread by labels, which needs them")
	}
	for i, name := range labels {
		if err := checkLabel(name); err != nil {
			return err
		}
		if i > 0 && name <= labels[i-1] {
			return fmt.Errorf("the label %q is not sorted, or there twice", name)
		}
	}
	return nil
}

func checkLabel(name string) error {
	if name == "" || !utf8.ValidString(name) {
		return fmt.Errorf("%q is no name of a label", name)
	}
	return nil
}

// checkEpoch checks an epoch after others.
func checkEpoch(before []Epoch, e Epoch) error {
	switch first := len(before) == 0; {
	case first && e.From != Ever:
		return errors.New("the first one counts from ever on")
	case !first && (e.From <= 0 || e.From <= before[len(before)-1].From):
		return errors.New("it does not begin after the one before")
	case len(e.Groups) == 0:
		return errors.New("it has no groups")
	case !first && slices.Equal(e.Groups, before[len(before)-1].Groups):
		return errors.New("it has the groups of the one before")
	}
	for i, name := range e.Groups {
		if err := checkName(name); err != nil {
			return err
		}
		if i > 0 && name <= e.Groups[i-1] {
			return fmt.Errorf("the group %q is not sorted, or there twice", name)
		}
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' && r != '.'
	}) {
		return fmt.Errorf("%q is no name of a group: want %d letters, digits, and -_. at most", name, maxName)
	}
	return nil
}
