package segment

import (
	"fmt"
	"unicode/utf8"
)

// Bounds of a placement, which travels in a hello too.
const (
	// MaxGroup is the longest name of a group, in bytes.
	MaxGroup = 128
	// MaxPlacement is the longest canonical form of a placement, in bytes.
	MaxPlacement = 3 << 10
)

// Placement says which of several groups a log is of, and which of them have which series.
// The zero value is none: the log is of no group.
type Placement struct {
	Group string
	// Wire is the canonical form of a promgrpc.link.v1.Placement, not looked into.
	Wire string
}

// None says that there is no placement.
func (p Placement) None() bool { return p == Placement{} }

// Bytes is about what the placement takes in memory.
func (p Placement) Bytes() int { return len(p.Group) + len(p.Wire) }

// Check returns an error unless the placement is within its bounds.
func (p Placement) Check() error {
	switch {
	case len(p.Group) > MaxGroup, len(p.Wire) > MaxPlacement:
		return fmt.Errorf("placement: %w: a group of %d bytes, and %d bytes of the rest", ErrTooLarge, len(p.Group), len(p.Wire))
	case p.Group == "" || !utf8.ValidString(p.Group) || p.Wire == "":
		return fmt.Errorf("placement: %w: group %q, %d bytes of the rest", ErrCorrupt, p.Group, len(p.Wire))
	}
	return nil
}

// appendPlacement fills the section of a placement: the group's name, and the rest.
func appendPlacement(b []byte, p Placement) ([]byte, error) {
	if p.None() {
		return b, nil
	}
	if err := p.Check(); err != nil {
		return b, err
	}
	return appendString(appendString(b, p.Group), p.Wire), nil
}

// readPlacement reads the section of a placement.
func readPlacement(section []byte, h *FrameHeader) (Placement, error) {
	if h.Flags&FlagPlacement == 0 {
		return Placement{}, nil
	}
	r := sectionReader{b: section}
	p := Placement{Group: r.string(), Wire: r.string()}
	if err := r.end("placement"); err != nil {
		return Placement{}, err
	}
	return p, p.Check()
}
