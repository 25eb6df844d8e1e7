package forwarder

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
)

// replication sends the log to every server that discovery names, to each in
// goroutines of its own.
type replication struct {
	source discovery.Source
	log    func() (*seglog.Log, <-chan struct{})
	ended  *endedLogs
	// diverged is told of each server that has diverged.
	diverged func(divergence)
	options  link.Options
	metrics  *metrics
	logger   *slog.Logger

	mu       sync.Mutex
	replicas map[string]*replica
}

// settle is how long servers that are connected get, when the forwarder ends,
// to take over what they have not taken yet.
const settle = time.Second

// run replicates until ctx ends and the servers have had their time to settle.
func (r *replication) run(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	sets := r.source.Watch(ctx)
	for {
		select {
		case set, ok := <-sets:
			if !ok {
				sets = nil // ctx is about to end
				continue
			}
			r.adopt(inner, set, &running)
		case <-ctx.Done():
			r.settle()
			return nil
		}
	}
}

// adopt starts what is new in the set and stops what is not in it.
func (r *replication) adopt(ctx context.Context, set []discovery.Instance, running *sync.WaitGroup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.replicas == nil {
		r.replicas = map[string]*replica{}
	}
	wanted := make(map[string]string, len(set))
	for _, instance := range set {
		wanted[instance.ID] = instance.Address
	}
	for id, p := range r.replicas {
		if address, ok := wanted[id]; !ok || address != p.instance.Address {
			p.cancel()
			delete(r.replicas, id)
			r.logger.Info("server left", "instance", id, "address", p.instance.Address)
		}
	}
	for _, instance := range set {
		if _, ok := r.replicas[instance.ID]; ok {
			continue
		}
		inner, cancel := context.WithCancel(ctx)
		p := &replica{
			instance: instance,
			log:      r.log,
			ended:    r.ended,
			diverged: r.diverged,
			options:  r.options,
			metrics:  r.metrics,
			logger:   r.logger.With("instance", instance.ID, "address", instance.Address),
			cancel:   cancel,
		}
		r.replicas[instance.ID] = p
		running.Go(func() {
			var ended sync.WaitGroup
			ended.Go(func() { p.completeAll(inner) })
			p.run(inner, p.connect)
			ended.Wait()
			r.forget(p)
		})
	}
}

// forget drops the metrics of a server, unless another one goes by its name.
func (r *replication) forget(p *replica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other, ok := r.replicas[p.instance.ID]; !ok || other == p {
		r.metrics.forget(p.instance.ID)
	}
}

func (r *replication) settle() {
	r.mu.Lock()
	waiting := make([]*replica, 0, len(r.replicas))
	for _, p := range r.replicas {
		waiting = append(waiting, p)
	}
	r.mu.Unlock()
	l, _ := r.log()
	if l == nil {
		return
	}
	last := l.Last()
	for end := time.Now().Add(settle); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		behind := false
		for _, p := range waiting {
			behind = behind || p.connected.Load() && p.confirmed.Load() < last
		}
		if !behind {
			return
		}
	}
}
