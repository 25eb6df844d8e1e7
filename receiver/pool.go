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

// pool keeps a connection to every forwarder and writes to one of them, steadily:
// a request that a sender repeats should come to the forwarder that may have
// it. Only when that one fails, another is used, and that steadily.
type pool struct {
	source  discovery.Source
	log     *throttle.Logger // for what forwarders and senders can cause
	metrics *metrics
	options link.Options

	mu         sync.Mutex
	forwarders []*member // In the order of the list.
	used       *member
}

type member struct {
	*forwarder
	stop context.CancelFunc
}

func newPool(source discovery.Source, logger *slog.Logger, m *metrics, o link.Options) *pool {
	return &pool{source: source, log: throttle.New(logger, 10*time.Second), metrics: m, options: o}
}

// run follows the source until ctx ends, and returns when all connections are
// closed.
func (p *pool) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for set := range p.source.Watch(ctx) {
		p.update(ctx, set, &wg)
	}
	return nil
}

// update makes the members those of the set.
func (p *pool) update(ctx context.Context, set []discovery.Instance, wg *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.forwarders
	p.forwarders = make([]*member, 0, len(set))
	for _, instance := range set {
		if i := slices.IndexFunc(old, func(m *member) bool { return m.instance == instance }); i >= 0 {
			p.forwarders = append(p.forwarders, old[i])
			continue
		}
		m := &member{forwarder: &forwarder{
			instance: instance, options: p.options, log: p.log, metrics: p.metrics,
			err: errors.New("not dialled yet"),
		}}
		var memberCtx context.Context
		memberCtx, m.stop = context.WithCancel(ctx)
		wg.Go(func() { m.run(memberCtx) })
		p.forwarders = append(p.forwarders, m)
	}
	for _, m := range old {
		if !slices.Contains(p.forwarders, m) {
			m.stop()
			if p.used == m {
				p.used = nil
			}
		}
	}
}

// write gets a verdict on the batch. An error is a passing one.
func (p *pool) write(ctx context.Context, schema linkv1.Schema, body []byte) (*linkv1.Verdict, error) {
	m, s, err := p.pick()
	if err != nil {
		return nil, err
	}
	v, healthy, err := m.write(ctx, s, schema, body)
	if !healthy {
		p.avoid(m)
	}
	switch {
	case errors.Is(err, link.ErrFrameTooLarge):
		return &linkv1.Verdict{Code: linkv1.Code_CODE_TOO_LARGE, Errors: []string{err.Error()}}, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("forwarder %s did not answer in time", m.instance.Address)
	case err != nil:
		return nil, fmt.Errorf("forwarder %s: %w", m.instance.Address, err)
	}
	return v, nil
}

// pick returns the forwarder in use if it is connected, or the next that is.
func (p *pool) pick() (*member, *session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, s, err := p.connected(max(0, slices.Index(p.forwarders, p.used)))
	if err == nil && p.used != m {
		p.log.Log(slog.LevelInfo, "forwarder in use", "forwarder", m.instance.Address)
		p.used = m
	}
	return m, s, err
}

// connected returns the first forwarder from start on that is connected. The
// caller holds mu.
func (p *pool) connected(start int) (*member, *session, error) {
	if len(p.forwarders) == 0 {
		return nil, nil, errors.New("no forwarder is known")
	}
	var errs []error
	for i := range p.forwarders {
		m := p.forwarders[(start+i)%len(p.forwarders)]
		s, err := m.current()
		if s != nil {
			return m, s, nil
		}
		errs = append(errs, fmt.Errorf("forwarder %s: %w", m.instance.Address, err))
	}
	return nil, nil, errors.Join(errs...)
}

// avoid makes another connected forwarder the one in use, if there is one.
func (p *pool) avoid(failed *member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used != failed {
		return
	}
	start := slices.Index(p.forwarders, failed)
	for i := 1; i < len(p.forwarders); i++ {
		m := p.forwarders[(start+i)%len(p.forwarders)]
		if s, _ := m.current(); s != nil {
			p.log.Log(slog.LevelInfo, "forwarder in use", "forwarder", m.instance.Address, "instead_of", failed.instance.Address)
			p.used = m
			return
		}
	}
}

// ready returns nil when a forwarder is connected.
func (p *pool) ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _, err := p.connected(0)
	return err
}
