package groups

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/groupsfile"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/server/outgoing"
)

// Groups are those of a groups file, as it is in use.
type Groups struct {
	file    *groupsfile.File
	caller  *outgoing.Caller
	logger  *slog.Logger
	changed broadcast.Signal

	mu   sync.Mutex
	list []*Group // by name; replaced, never changed
}

// Check says what is wrong with a groups file for a router.
func Check(f *placement.File) error {
	for _, g := range f.Groups {
		if g.Servers == "" {
			return fmt.Errorf("line %d: group %s has no servers", g.Line, g.Name)
		}
		if _, err := discovery.Parse(g.Servers, discovery.Options{}); err != nil {
			return fmt.Errorf("line %d: group %s: servers: %w", g.Line, g.Name, err)
		}
	}
	return nil
}

// New returns the groups of a file whose servers a caller calls. They are known, and
// nobody is called, before Run.
func New(file *groupsfile.File, caller *outgoing.Caller, logger *slog.Logger) *Groups {
	g := &Groups{file: file, caller: caller, logger: logger}
	g.adopt(func(*Group) {})
	return g
}

// Now returns the groups, by name, and a channel that is closed when there are others, or
// what is known of one has changed.
func (g *Groups) Now() (list []*Group, changed <-chan struct{}) {
	changed = g.changed.Next()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.list, changed
}

// Placement of the series in the groups, nil if they are pipelines as they are.
func (g *Groups) Placement() *placement.Placement { return g.file.Now().Placement }

// Reloads is what is read from files.
func (g *Groups) Reloads() []daemon.Reload {
	return daemon.Reloads(
		daemon.Reload{What: placement.Flag, Again: g.file.Again},
		daemon.Reload{What: "files of " + g.caller.Flag("tls"), Again: g.caller.Again()},
	)
}

// Problem is why the groups file as it is now is not in use, nil if it is.
func (g *Groups) Problem() error { return g.file.Err() }

// Run watches the file and the servers of all groups until ctx ends, and returns when
// nothing is called any more.
func (g *Groups) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = g.file.Run(ctx) })
	started := map[*Group]bool{}
	start := func(group *Group) {
		if started[group] {
			return
		}
		started[group] = true
		wg.Go(func() { group.run(ctx) })
	}
	for {
		changed := g.file.Changed()
		g.adopt(start)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// adopt makes the groups those of the file. One whose servers are found otherwise than
// before is the same: streams that hold it go on.
func (g *Groups) adopt(start func(*Group)) {
	before, _ := g.Now()
	var list []*Group
	for _, of := range g.file.Now().Groups {
		i := slices.IndexFunc(before, func(old *Group) bool { return old.name == of.Name })
		if i >= 0 {
			before[i].find(of.Servers)
			list = append(list, before[i])
		} else {
			list = append(list, newGroup(g, of))
		}
	}
	for _, old := range before {
		if !slices.Contains(list, old) {
			old.leave()
			g.logger.Info("a group is in the groups file no more", "group", old.name)
		}
	}
	g.mu.Lock()
	g.list = list
	g.mu.Unlock()
	g.changed.Wake()
	for _, group := range list {
		start(group)
	}
}

// Away are the names of the groups of which no server answers.
func (g *Groups) Away() []string {
	list, _ := g.Now()
	var names []string
	for _, group := range list {
		if group.Away() {
			names = append(names, group.Name())
		}
	}
	return names
}

// Pending are the names of those of which it is not known yet what they have.
func (g *Groups) Pending() string {
	list, _ := g.Now()
	var names []string
	for _, group := range list {
		if _, known := group.Logs(); !known {
			names = append(names, group.Name())
		}
	}
	return strings.Join(names, ", ")
}

// Status of all groups.
func (g *Groups) Status() []*metricsv1.GroupStatus {
	list, _ := g.Now()
	all := make([]*metricsv1.GroupStatus, len(list))
	for i, group := range list {
		all[i] = group.Status()
	}
	return all
}
