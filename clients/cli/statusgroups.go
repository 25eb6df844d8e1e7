package cli

import (
	"bufio"
	"fmt"
	"text/tabwriter"

	"github.com/promgrpc/exporter/clients/cli/output"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// groupState is a group of a router's.
type groupState struct {
	Name             string        `json:"name"`
	Away             bool          `json:"away"`
	Silent           bool          `json:"silent"`
	PlacementVersion uint64        `json:"placement_version,omitempty"`
	Servers          []groupServer `json:"servers"`
	LogIDs           []string      `json:"log_ids"`
}

type groupServer struct {
	Address  string `json:"address"`
	Instance string `json:"instance,omitempty"`
	Ready    bool   `json:"ready"`
	Error    string `json:"error,omitempty"`
}

func newGroupState(g *metricsv1.GroupStatus) groupState {
	s := groupState{
		Name: g.GetName(), Away: g.GetAway(), Silent: g.GetSilent(), PlacementVersion: g.GetPlacementVersion(),
		Servers: []groupServer{}, LogIDs: append([]string{}, g.GetLogIds()...),
	}
	for _, of := range g.GetServers() {
		s.Servers = append(s.Servers, groupServer{of.GetAddress(), of.GetInstance(), of.GetReady(), of.GetError()})
	}
	return s
}

// printGroups prints a line for each server, and for each group that has none.
func printGroups(b *bufio.Writer, groups []groupState, version uint64) {
	if len(groups) == 0 {
		return
	}
	if version > 0 {
		_, _ = fmt.Fprintf(b, "  version %d of the groups file\n", version)
	}
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "  GROUP\tVERSION\tLOGS\tSERVER\tINSTANCE\tSTATE")
	for _, g := range groups {
		name := output.Cell(g.Name, false)
		switch {
		case g.Away:
			name += " (away)"
		case g.Silent:
			name += " (silent)"
		}
		servers := g.Servers
		if len(servers) == 0 {
			servers = []groupServer{{Address: "none"}}
		}
		for _, s := range servers {
			state := "ready"
			if !s.Ready {
				state = output.Cell(s.Error, false)
			}
			_, _ = fmt.Fprintf(t, "  %s\t%d\t%d\t%s\t%s\t%s\n", name, g.PlacementVersion, len(g.LogIDs),
				output.Cell(s.Address, false), output.Cell(s.Instance, false), state)
		}
	}
	_ = t.Flush() // into b
}
