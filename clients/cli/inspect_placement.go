package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/segment"
)

// epochsOf are the epochs of a placement, or none if it is not one: the format of segments
// does not look into it.
func epochsOf(said segment.Placement) (version uint64, epochs []placement.Epoch) {
	p, err := placement.Parse([]byte(said.Wire))
	if err != nil {
		return 0, nil
	}
	return p.Version(), p.Epochs()
}

// since is when an epoch begins, empty for the first.
func since(e placement.Epoch) string {
	if e.From == placement.Ever {
		return ""
	}
	return date(e.From)
}

// listPlacement says for people which group the log is of, and by which placement it is
// written at the end of the segment, if there is any. The errors of w are those of its Flush.
func listPlacement(w *bufio.Writer, said segment.Placement) {
	if said.None() {
		return
	}
	version, epochs := epochsOf(said)
	_, _ = fmt.Fprintf(w, "\ngroup %q, version %d of the groups file\n%-24s %s\n", said.Group, version, "FROM", "GROUPS")
	for _, e := range epochs {
		from := since(e)
		if from == "" {
			from = "ever"
		}
		_, _ = fmt.Fprintf(w, "%-24s %s\n", from, strings.Join(e.Groups, " "))
	}
}

// placementObject is a placement in the object of its frame.
type placementObject struct {
	Group   string        `json:"group"`
	Version uint64        `json:"version"`
	Epochs  []epochObject `json:"epochs"`
}

type epochObject struct {
	From   string   `json:"from,omitempty"`
	Groups []string `json:"groups"`
}

// writePlacement adds the placement of a frame, if it has any, to its object.
func writePlacement(w *bufio.Writer, said segment.Placement) error {
	if said.None() {
		return nil
	}
	version, epochs := epochsOf(said)
	o := placementObject{Group: said.Group, Version: version, Epochs: make([]epochObject, 0, len(epochs))}
	for _, e := range epochs {
		o.Epochs = append(o.Epochs, epochObject{since(e), e.Groups})
	}
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, `,"placement":%s`, b)
	return err
}
