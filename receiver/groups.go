package receiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/groupsfile"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/usage"
)

// aheadOfMoves is how far ahead an instant has to be at which series move: all links are
// told of it before samples of it can come.
const aheadOfMoves = 30 * time.Second

// routes are where what is written goes. They do not change.
type routes struct {
	placement *placement.Placement // nil: there is one pool
	// pools by the index of their group in the placement, nil for one that is gone.
	pools []*pool
}

// groups keeps a pool for each group of the groups file, or one for --forwarder.
type groups struct {
	file    *groupsfile.File // nil: there are no groups
	logger  *slog.Logger
	metrics *metrics
	options link.Options
	current atomic.Pointer[routes]

	mu      sync.Mutex
	members map[string]*member
}

// member is the pool of a group.
type member struct {
	pool       *pool
	forwarders string // in the syntax of package discovery
	stop       context.CancelFunc
}

func newGroups(c Config, logger *slog.Logger, m *metrics, o link.Options) (*groups, error) {
	g := &groups{logger: logger, metrics: m, options: o, members: map[string]*member{}}
	if c.GroupsFile == "" {
		source, err := discovery.Parse(c.Forwarder, discovery.Options{Logger: logger})
		if err != nil {
			return nil, usage.Errorf("--forwarder: %w", err)
		}
		g.use(newPool("", source, logger, m, o))
		return g, nil
	}
	var err error
	if g.file, err = groupsfile.Open(c.GroupsFile, groupsfile.Options{Check: checkGroups, Ahead: aheadOfMoves, Logger: logger}); err != nil {
		return nil, err
	}
	m.file.Store(g.file)
	return g, g.adopt(g.file.Now())
}

// checkGroups says what a receiver needs that a file lacks.
func checkGroups(f *placement.File) error {
	if f.Placement == nil {
		return errors.New("spread: it is missing, and says which group a series belongs to")
	}
	for _, group := range f.Groups {
		if group.Forwarders == "" {
			return fmt.Errorf("line %d: groups.%s: it has no forwarders", group.Line, group.Name)
		}
		if _, err := discovery.Parse(group.Forwarders, discovery.Options{}); err != nil {
			return fmt.Errorf("line %d: groups.%s.forwarders: %w", group.Line, group.Name, err)
		}
	}
	return nil
}

// use makes a pool the only one.
func (g *groups) use(p *pool) {
	g.members[""] = &member{pool: p}
	g.current.Store(&routes{pools: []*pool{p}})
}

// adopt makes the pools those of a file, and has all links know its placement. What is new
// is started by run.
func (g *groups) adopt(f *placement.File) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.members
	g.members = map[string]*member{}
	to := &routes{placement: f.Placement, pools: make([]*pool, len(f.Placement.Groups()))}
	for _, group := range f.Groups {
		m := before[group.Name]
		if m == nil || m.forwarders != group.Forwarders {
			source, err := discovery.Parse(group.Forwarders, discovery.Options{Logger: g.logger})
			if err != nil {
				return fmt.Errorf("%s: groups.%s.forwarders: %w", placement.Flag, group.Name, err)
			}
			m = &member{pool: newPool(group.Name, source, g.logger, g.metrics, g.options), forwarders: group.Forwarders}
			m.pool.told = g.file.Known
		}
		g.members[group.Name] = m
		m.pool.place(f.Placement)
	}
	for i, name := range f.Placement.Groups() {
		if m := g.members[name]; m != nil {
			to.pools[i] = m.pool
		}
	}
	g.current.Store(to)
	for name, m := range before {
		if g.members[name] != m && m.stop != nil {
			m.stop()
		}
	}
	g.metrics.groupsVersion.Set(float64(f.Placement.Version()))
	return nil
}

// run keeps the links until ctx ends, and returns when all are closed.
func (g *groups) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if g.file == nil {
		g.start(ctx, &wg)
		return nil
	}
	wg.Go(func() { _ = g.file.Run(ctx) })
	for {
		changed := g.file.Changed()
		if err := g.adopt(g.file.Now()); err != nil {
			return err
		}
		g.start(ctx, &wg)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// start starts the pools that do not run yet.
func (g *groups) start(ctx context.Context, wg *sync.WaitGroup) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		if m.stop == nil {
			var own context.Context
			own, m.stop = context.WithCancel(ctx)
			wg.Go(func() { m.pool.run(own) })
		}
	}
}

// ready returns nil when a forwarder of every group is connected, and none has a newer file. One that
// cannot be used is told of elsewhere: what was read before goes on.
func (g *groups) ready() error {
	var errs []error
	to := g.current.Load()
	if to.placement != nil {
		errs = append(errs, g.file.Behind(to.placement))
	}
	for _, p := range to.pools {
		if p == nil {
			continue
		}
		if err := p.ready(); err != nil {
			errs = append(errs, p.of(err))
		}
	}
	return errors.Join(errs...)
}

// reread reads the groups file again, nil if there is none.
func (g *groups) reread() func() error {
	if g.file == nil {
		return nil
	}
	return g.file.Again
}

// again reads again what discovery reads of files, nil if that is nothing.
func (g *groups) again() func() error {
	if g.file == nil {
		return discovery.Reload(g.current.Load().pools[0].source)
	}
	return func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		var errs []error
		for _, m := range g.members {
			if again := discovery.Reload(m.pool.source); again != nil {
				errs = append(errs, again())
			}
		}
		return errors.Join(errs...)
	}
}
