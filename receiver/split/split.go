// Package split takes the body of a remote-write request apart by the groups that its
// series belong to.
//
// Guaranteed: a series' bytes are copied as they are, but for references of 2.0, which are
// those of its part's own symbols; the parts have what the body had, each series in its
// group, and a series whose samples lie in epochs that give it to different groups is
// split by their timestamps. The same body is split into the same bytes by every program of
// the same version, whenever that is. What is damaged so that its series cannot be told
// apart is refused as a whole, so that no group gets another's. Memory is granted before it is
// taken, and what a series costs does not grow with the number of groups.
//
// Not guaranteed: that a part is valid. What is wrong with one series, or within it, is for
// the forwarder that gets it to find.
package split

import (
	"errors"
	"fmt"

	"github.com/promgrpc/exporter/internal/buffer"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/snappyblock"
)

// Schema of a body.
type Schema int

// The schemas.
const (
	V1 Schema = 1 // prometheus.WriteRequest
	V2 Schema = 2 // io.prometheus.write.v2.Request
)

// Rule says which group a series goes to.
type Rule struct {
	Placement *placement.Placement
	// Key of all series, unless their labels decide.
	Key placement.Key
	// TenantLabel, unless it is "", is a label that all series have with the value
	// Tenant, in place of what the body says.
	TenantLabel, Tenant string
}

// Part is what goes to one group.
type Part struct {
	// Group as an index into those of the placement.
	Group int
	// Body in snappy's block format. It is valid until Release.
	Body []byte
	// Series in it, and pieces of series.
	Series int

	memory *buffer.Buffer // nil: the body that was split
}

// Release gives the part's memory back.
func (p *Part) Release() {
	if p.memory != nil {
		p.memory.Release()
		p.memory = nil
	}
}

// ErrDamaged says that the series of a body cannot be told apart.
var ErrDamaged = errors.New("body cannot be taken apart for groups: it is not a valid protobuf message")

// Split takes a body in snappy's block format apart. There is one part a group that gets
// something, in the order of the groups, and one at least. room is asked, with all that is
// taken by then in bytes, before more is: its error ends the splitting. Another one is
// [ErrDamaged].
func (r *Rule) Split(schema Schema, body []byte, room func(int64) error) ([]Part, error) {
	if group, all := r.all(); all {
		return []Part{{Group: group, Body: body}}, nil
	}
	s := take(r, room)
	defer s.release()
	return s.split(schema, body)
}

// all returns the group of all series, if there is no need to look at them.
func (r *Rule) all() (group int, all bool) {
	p := r.Placement
	if p.Spread() == placement.ByLabels {
		if groups := p.Groups(); len(groups) > 1 {
			return 0, false
		}
		return 0, true
	}
	return r.last(), !p.Moves(r.Key, 0)
}

// last returns the group that has a body of which nothing is known, for good.
func (r *Rule) last() int { return r.Placement.InEpoch(r.Placement.LastEpoch(), r.Key) }

// split returns the parts of a body.
func (s *splitter) split(schema Schema, body []byte) ([]Part, error) {
	claim, err := snappyblock.Claim(body)
	if err != nil || !snappyblock.Holds(body, claim) || claim > mostDecoded {
		return nil, ErrDamaged
	}
	if err := s.decode(body, int(claim)); err != nil {
		return nil, err
	}
	switch schema {
	case V1:
		err = s.scanV1()
	case V2:
		err = s.scanV2()
	default:
		err = fmt.Errorf("schema %d is unknown", schema)
	}
	if err != nil {
		return nil, err
	}
	if parts := s.whole(body); parts != nil {
		return parts, nil
	}
	if schema == V1 {
		if parts, err := s.excerptParts(body); err != nil || parts != nil {
			return parts, err
		}
	}
	parts, err := s.write(schema)
	if err != nil {
		for i := range parts {
			parts[i].Release()
		}
		return nil, err
	}
	return parts, nil
}

// whole returns the body itself in place of parts that would say the same, nil if it has
// to be written anew.
func (s *splitter) whole(body []byte) (parts []Part) {
	switch {
	case len(s.entries) == 0 && len(s.families) == 0:
		return []Part{{Group: s.rule.last(), Body: body}} // A forwarder says what is wrong.
	case len(s.entries) == 0:
		for _, group := range s.familyGroups() {
			parts = append(parts, Part{Group: group, Body: body})
		}
		return parts
	case len(s.families) > 0 || len(s.pieces) > 0:
		return nil
	}
	group := s.entries[0].group
	for i := range s.entries {
		if s.entries[i].group != group {
			return nil
		}
	}
	return []Part{{Group: int(group), Body: body, Series: int(s.lists[group].series)}}
}

// Held is what parts hold of memory.
func Held(parts []Part) (n int64) {
	for i := range parts {
		if parts[i].memory != nil {
			n += int64(cap(parts[i].memory.Bytes))
		}
	}
	return n
}
