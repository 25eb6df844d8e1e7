package receiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/throttle"
)

// pool keeps a connection to every forwarder and writes to one of them until that one
// fails: a request that a sender repeats should go to the forwarder that may have it.
type pool struct {
	source     discovery.Source
	log        *throttle.Logger // for what forwarders and senders can cause
	options    link.Options
	forwarders discovery.Members[*forwarder]

	mu   sync.Mutex
	used *forwarder
}

func newPool(source discovery.Source, logger *slog.Logger, m *metrics, o link.Options) *pool {
	p := &pool{source: source, log: throttle.New(logger, 10*time.Second), options: o}
	p.forwarders.Name = func(i discovery.Instance) string { return i.Address }
	p.forwarders.Gone = func(address string) { m.forwarderUp.DeleteLabelValues(address) }
	p.forwarders.Start = func(i discovery.Instance) (*forwarder, func(context.Context)) {
		f := &forwarder{instance: i, options: o, log: p.log, metrics: m, err: errors.New("not dialled yet")}
		return f, f.run
	}
	return p
}

// run follows the source until ctx ends, and returns when all connections are
// closed.
func (p *pool) run(ctx context.Context) error {
	p.forwarders.Run(ctx, p.source)
	return nil
}

// write gets a verdict on the batch. Its errors may pass.
func (p *pool) write(ctx context.Context, batch *linkv1.Batch) (*linkv1.Verdict, error) {
	f, s, err := p.pick()
	if err != nil {
		return nil, err
	}
	v, healthy, err := f.write(ctx, s, batch)
	if !healthy {
		p.avoid(f)
	}
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

// pick returns the forwarder in use if it is connected, or the next that is.
func (p *pool) pick() (*forwarder, *session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, s, err := connected(p.forwarders.All(), p.used)
	if err == nil && p.used != f {
		p.log.Log(slog.LevelInfo, "forwarder in use", "forwarder", f.instance.Address)
		p.used = f
	}
	return f, s, err
}

// connected returns the first forwarder that is connected, starting with used if that
// is one of them.
func connected(all []*forwarder, used *forwarder) (*forwarder, *session, error) {
	if len(all) == 0 {
		return nil, nil, errors.New("no forwarder is known")
	}
	start := max(0, slices.Index(all, used))
	var errs []error
	for i := range all {
		f := all[(start+i)%len(all)]
		s, err := f.current()
		if s != nil {
			return f, s, nil
		}
		errs = append(errs, fmt.Errorf("forwarder %s: %w", f.instance.Address, err))
	}
	return nil, nil, errors.Join(errs...)
}

// avoid makes another connected forwarder the one in use, if there is one.
func (p *pool) avoid(failed *forwarder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.forwarders.All()
	start := slices.Index(all, failed)
	if p.used != failed || start < 0 {
		return
	}
	for i := 1; i < len(all); i++ {
		f := all[(start+i)%len(all)]
		if s, _ := f.current(); s != nil {
			p.log.Log(slog.LevelInfo, "forwarder in use", "forwarder", f.instance.Address, "instead_of", failed.instance.Address)
			p.used = f
			return
		}
	}
}

// ready returns nil when a forwarder is connected.
func (p *pool) ready() error {
	_, _, err := connected(p.forwarders.All(), nil)
	return err
}
