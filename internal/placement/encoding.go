package placement

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

// MaxBytes of a placement, which travels in the hello of a link.
const MaxBytes = 3 << 10

// Bytes are what [Parse] reads, a message promgrpc.link.v1.Placement: the same of all
// placements that say the same.
func (p *Placement) Bytes() []byte { return p.bytes }

// encode sets the bytes.
func (p *Placement) encode() (err error) {
	m := &linkv1.Placement{Version: p.version, Spread: linkv1.Spread(p.spread), Labels: p.labels}
	var before []string
	for i, e := range p.epochs {
		epoch := &linkv1.Epoch{Added: without(e.Groups, before), Removed: without(before, e.Groups)}
		if i > 0 {
			epoch.FromTime = e.From
		}
		m.Epochs, before = append(m.Epochs, epoch), e.Groups
	}
	if p.bytes, err = (proto.MarshalOptions{Deterministic: true}).Marshal(m); err != nil {
		return err
	}
	if len(p.bytes) > MaxBytes {
		return fmt.Errorf("it takes %d bytes on a link, which carries %d: use shorter names of groups", len(p.bytes), MaxBytes)
	}
	return nil
}

// without returns what of a sorted list another does not have.
func without(names, others []string) (rest []string) {
	for _, name := range names {
		if _, has := slices.BinarySearch(others, name); !has {
			rest = append(rest, name)
		}
	}
	return rest
}

// Parse reads what [Placement.Bytes] returned, and accepts nothing else.
func Parse(in []byte) (*Placement, error) {
	if len(in) > MaxBytes {
		return nil, fmt.Errorf("placement of %d bytes, at most %d are allowed", len(in), MaxBytes)
	}
	var m linkv1.Placement
	if err := proto.Unmarshal(in, &m); err != nil {
		return nil, fmt.Errorf("placement is cut off or damaged: %w", err)
	}
	var epochs []Epoch
	var groups []string
	for i, e := range m.GetEpochs() {
		groups = append(without(groups, e.GetRemoved()), e.GetAdded()...)
		slices.Sort(groups)
		from := e.GetFromTime()
		if i == 0 {
			from = Ever
		}
		epochs = append(epochs, Epoch{From: from, Groups: slices.Clone(groups)})
	}
	p, err := New(m.GetVersion(), Spread(m.GetSpread()), m.GetLabels(), epochs)
	if err != nil {
		return nil, fmt.Errorf("placement: %w", err)
	}
	if !bytes.Equal(p.bytes, in) {
		return nil, errors.New("placement is not encoded as placements are")
	}
	return p, nil
}
