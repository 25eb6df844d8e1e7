// Package grouping decides which receivers fit a forwarder's log, where they spread series
// over groups, and when the log gets another placement. It knows no log and no clock.
//
// Guaranteed: a log stays in its group for good, and its placements follow each other as
// [placement.Placement.Follow] says, whoever says hello in whichever order.
package grouping

import (
	"errors"
	"fmt"
	"slices"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/segment"
)

// Reason why a receiver does not fit, for a metric.
type Reason string

// The reasons.
const (
	None  Reason = "none"  // it has no placement, and the log has
	Group Reason = "group" // it takes the log to be of another group
	Older Reason = "older" // it has a placement of a lower version than the log's
	Other Reason = "other" // it has another placement of the same version
	Past  Reason = "past"  // it has a placement that changes what counts already
)

// Reasons are all of them.
var Reasons = []Reason{None, Group, Older, Other, Past}

// Error says why a receiver does not fit.
type Error struct {
	Reason Reason
	err    error
}

func (e *Error) Error() string { return e.err.Error() }

// Belonging is which group a log is of, or is taken to be of, by which placement. The zero
// value is of none.
type Belonging struct {
	Group     string
	Placement *placement.Placement // nil in the zero value alone
}

// Said returns what a receiver says.
func Said(h *linkv1.Hello) (Belonging, error) { return parse(h.GetGroup(), h.GetPlacement()) }

// Of returns what a log says.
func Of(p segment.Placement) (Belonging, error) { return parse(p.Group, []byte(p.Wire)) }

func parse(group string, wire []byte) (Belonging, error) {
	if group == "" && len(wire) == 0 {
		return Belonging{}, nil
	}
	p, err := placement.Parse(wire)
	if err != nil {
		return Belonging{}, err
	}
	if _, is := slices.BinarySearch(p.Groups(), group); !is {
		return Belonging{}, fmt.Errorf("version %d of the groups file has no group %q", p.Version(), group)
	}
	return Belonging{group, p}, nil
}

// Segment is what a log says.
func (b Belonging) Segment() segment.Placement {
	if b.Placement == nil {
		return segment.Placement{}
	}
	return segment.Placement{Group: b.Group, Wire: string(b.Placement.Bytes())}
}

// Version of the placement, 0 if there is none.
func (b Belonging) Version() uint64 {
	if b.Placement == nil {
		return 0
	}
	return b.Placement.Version()
}

// Meet says whether who says hello may write to a log, and if so, whether the log takes the
// placement of the hello first. What counts until a time, in ms, stays as it is: what was
// written until then was spread by it. An error is an [*Error].
func (b Belonging) Meet(hello Belonging, until int64) (taken bool, err error) {
	switch {
	case b.Placement == nil:
		return hello.Placement != nil, nil
	case hello.Placement == nil:
		return false, &Error{None, fmt.Errorf("this log is of group %s, and the receiver has no groups file", b.Group)}
	case hello.Group != b.Group:
		return false, &Error{Group, fmt.Errorf("this log is of group %s, and the receiver takes it to be of group %s", b.Group, hello.Group)}
	}
	if err := b.Placement.Follow(hello.Placement, until); err != nil {
		return false, &Error{reasonOf(err), fmt.Errorf("the receiver has %w", err)}
	}
	return hello.Version() > b.Version(), nil
}

func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, placement.ErrOlder):
		return Older
	case errors.Is(err, placement.ErrOther):
		return Other
	}
	return Past
}
