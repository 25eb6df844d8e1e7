package forwarder

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
)

// toShip is what every shipper ships, and by what links.
type toShip struct {
	log   func() (*seglog.Log, <-chan struct{})
	ended *endedLogs
	// diverged is told of each server that has diverged.
	diverged   func(*divergence)
	confirming *confirming // nil: nobody waits for servers
	news       *news       // of elections; nil: nobody is elected
	options    link.Options
	metrics    *metrics
}

// shipping sends the logs to every server that discovery names.
type shipping struct {
	toShip
	source   discovery.Source
	logger   *slog.Logger
	shippers discovery.Members[*shipper]
	// answered is closed when every batch has its verdict.
	answered chan struct{}
}

// settle is how long servers that are connected get, when the forwarder ends, to
// confirm what they have not confirmed yet.
const settle = time.Second

// run ships until ctx ends, and every batch was answered, and the servers have had their
// time to settle.
func (s *shipping) run(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer s.confirming.end()
	defer context.AfterFunc(ctx, func() {
		if s.confirming != nil {
			<-s.answered // within --ack.timeout
		}
		s.settle()
		cancel()
	})()
	s.shippers.Name = func(i discovery.Instance) string { return i.ID }
	s.shippers.Gone = s.metrics.forget
	s.shippers.Start = func(i discovery.Instance) (*shipper, func(context.Context)) {
		p := s.shipper(i)
		return p, func(ctx context.Context) {
			var ended sync.WaitGroup
			ended.Go(func() { p.shipEnded(ctx) })
			p.run(ctx, p.shipPresent)
			ended.Wait()
			if inner.Err() == nil {
				p.logger.Info("server left")
			}
		}
	}
	s.shippers.Run(inner, s.source)
	return nil
}

func (s *shipping) shipper(i discovery.Instance) *shipper {
	return &shipper{toShip: s.toShip, instance: i, logger: s.logger.With("instance", i.ID, "address", i.Address)}
}

// settle waits until the servers that are connected have confirmed the last block.
func (s *shipping) settle() {
	l, _ := s.log()
	if l == nil {
		return
	}
	last := l.Last()
	lags := func(p *shipper) bool { return p.connected.Load() && p.confirmed.Load() < last }
	for end := time.Now().Add(settle); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if !slices.ContainsFunc(s.shippers.All(), lags) {
			return
		}
	}
}
