package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/receiver/assign"
)

// pool keeps a connection to every forwarder. Each sender's requests go to one of them for
// as long as that is fit for it: one that is repeated should come to the forwarder that may
// have it.
type pool struct {
	group      string // "": there are no groups
	source     discovery.Source
	log        *throttle.Logger // for what forwarders can cause
	options    link.Options
	metrics    *metrics
	forwarders discovery.Members[*forwarder]
	// placed is what links say of where series belong, nil where they say nothing. Moved
	// wakes who waits for another, and changed who waits for a link.
	placed         atomic.Pointer[placement.Placement]
	moved, changed broadcast.Signal
	// told is called with the placement that a link said, and the version of that which the
	// forwarder's log has, where it refuses ours.
	told func(said []byte, version uint64)
}

func newPool(group string, source discovery.Source, logger *slog.Logger, m *metrics, o link.Options) *pool {
	p := &pool{group: group, source: source, log: throttle.New(logger, 10*time.Second), options: o, metrics: m}
	p.forwarders.Name = func(i discovery.Instance) string { return i.Address }
	p.forwarders.Gone = func(address string) { m.forwarderUp.DeleteLabelValues(group, address) }
	p.forwarders.Start = func(i discovery.Instance) (*forwarder, func(context.Context)) {
		f := &forwarder{instance: i, pool: p, err: errUndialled, known: assign.New(i.Address)}
		return f, f.run
	}
	return p
}

// run follows the source until ctx ends, and returns when all connections are
// closed.
func (p *pool) run(ctx context.Context) { p.forwarders.Run(ctx, p.source) }

// place has the links say another placement. Those that are there end once what is under
// way is answered, and are dialled again.
func (p *pool) place(next *placement.Placement) {
	if before := p.placed.Swap(next); before == nil || !bytes.Equal(before.Bytes(), next.Bytes()) {
		p.moved.Wake()
	}
}

// hello returns what a link begins with, and a channel that is closed when that changes.
func (p *pool) hello() (*linkv1.Hello, <-chan struct{}) {
	h, moved := &linkv1.Hello{Role: linkv1.Role_ROLE_RECEIVER, Group: p.group}, p.moved.Next()
	if placed := p.placed.Load(); placed != nil {
		h.Placement = placed.Bytes()
	}
	return h, moved
}

// of says which group an error is of.
func (p *pool) of(err error) error {
	if p.group == "" {
		return err
	}
	return fmt.Errorf("group %s: %w", p.group, err)
}

// errReplaced says that a batch was spread by a placement that counts no more.
var errReplaced = errors.New("the groups file has changed meanwhile")

// write gets a verdict on a sender's batch, which goes over a link that said the placement
// by which it was spread, nil for none. Its errors may pass.
func (p *pool) write(ctx context.Context, from assign.Sender, by *placement.Placement, batch *linkv1.Batch) (*linkv1.Verdict, error) {
	f, s, err := p.await(ctx, from, by)
	if err != nil {
		return nil, err
	}
	v, err := f.write(ctx, s, batch)
	switch {
	case errors.Is(err, link.ErrFrameTooLarge):
		return &linkv1.Verdict{Code: linkv1.Code_CODE_TOO_LARGE, Errors: []string{err.Error()}}, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("forwarder %s did not answer in time", f.instance.Address)
	case err != nil:
		return nil, fmt.Errorf("forwarder %s: %w", f.instance.Address, err)
	}
	return v, nil
}

// await is pick, and waits while the links are dialled anew because of another placement.
func (p *pool) await(ctx context.Context, from assign.Sender, by *placement.Placement) (*forwarder, *session, error) {
	for {
		changed := p.changed.Next()
		f, s, err := p.pick(from)
		switch {
		case err == nil && s.says(by):
			return f, s, nil
		case err == nil && p.placed.Load() != by:
			return nil, nil, errReplaced
		case err == nil:
			err = errMoved // It will be in a moment.
		case !p.redials():
			return nil, nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, err
		}
	}
}

// misplaced says whether a link ended because the forwarder's log has another group or
// placement than its hello, and notes which version that is.
func (p *pool) misplaced(hello *linkv1.Hello, err error) bool {
	bye := (*link.GoodbyeError)(nil)
	if !errors.As(err, &bye) || bye.Code != linkv1.GoodbyeCode_GOODBYE_CODE_PLACEMENT {
		return false
	}
	p.metrics.misplaced.WithLabelValues(p.group).Inc()
	if p.told != nil {
		p.told(hello.GetPlacement(), bye.PlacementVersion)
	}
	return true
}

// redials says whether a link is dialled anew.
func (p *pool) redials() bool {
	return slices.ContainsFunc(p.forwarders.All(), func(f *forwarder) bool {
		_, err := f.current()
		return errors.Is(err, errMoved)
	})
}

// pick returns the forwarder that a sender goes to now.
func (p *pool) pick(from assign.Sender) (*forwarder, *session, error) {
	all := p.forwarders.All()
	known, sessions := make([]assign.Forwarder, len(all)), make([]*session, len(all))
	for i, f := range all {
		sessions[i], known[i], _ = f.fitness()
	}
	chosen := assign.Choose(from, known, time.Now())
	if chosen < 0 {
		return nil, nil, unconnected(all)
	}
	if chosen != assign.Own(from, known) {
		p.metrics.moved.Inc()
	}
	return all[chosen], sessions[chosen], nil
}

// unconnected is why none of the forwarders is connected.
func unconnected(all []*forwarder) error {
	if len(all) == 0 {
		return errors.New("no forwarder is known")
	}
	var errs []error
	for _, f := range all {
		if _, err := f.current(); err != nil {
			errs = append(errs, fmt.Errorf("forwarder %s: %w", f.instance.Address, err))
		}
	}
	if len(errs) == 0 {
		return errors.New("a forwarder has just been connected")
	}
	return errors.Join(errs...)
}

// ready returns nil when a forwarder is connected.
func (p *pool) ready() error {
	all := p.forwarders.All()
	for _, f := range all {
		if s, _ := f.current(); s != nil {
			return nil
		}
	}
	return unconnected(all)
}
