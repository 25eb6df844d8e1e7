package discovery

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// reportEvery is how often an instance reports its state, by which it
	// notices, too, that Consul does not know it any more.
	reportEvery = time.Second
	// farewellTime is what deregistering may take.
	farewellTime = 2 * time.Second
)

// Registrar keeps an instance registered.
type Registrar struct {
	registration Registration
	agent        *consulAgent
	logger       *slog.Logger

	withdrawOnce sync.Once
	withdrawn    chan struct{}
}

// NewRegistrar checks the address of the agent. It asks nobody yet.
func NewRegistrar(r Registration, logger *slog.Logger) (*Registrar, error) {
	agent, err := newConsulAgent(r.Consul)
	if err != nil {
		return nil, err
	}
	return &Registrar{
		registration: r, agent: agent, withdrawn: make(chan struct{}),
		logger: logger.With("consul", r.Consul, "service", r.Service, "id", r.id()),
	}, nil
}

// Withdraw has Consul told at once that the instance is not ready, by what
// Ready says from now on, and not registered anew if Consul forgets it. It
// does not wait, and may be called twice.
func (r *Registrar) Withdraw() { r.withdrawOnce.Do(func() { close(r.withdrawn) }) }

// Run registers the instance and reports its state until ctx ends. Then it
// deregisters it. While the agent cannot be reached it tries again.
func (r *Registrar) Run(ctx context.Context) error {
	defer r.agent.transport.CloseIdleConnections()
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	withdrawn := r.withdrawn
	registered, failing := false, false
	for {
		now, err := r.report(ctx, registered)
		if ctx.Err() != nil {
			break
		}
		registered = now
		// One line a change of state. To have nothing to report is none.
		if failed := err != nil; failed != failing && !errors.Is(err, errWithdrawn) {
			failing = failed
			if failed {
				r.logger.Warn("not registered in consul, or not for long", "err", err)
			} else {
				r.logger.Info("consul takes reports")
			}
		}
		select {
		case <-ticker.C:
		case <-withdrawn:
			withdrawn = nil
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	r.deregister(context.WithoutCancel(ctx))
	return nil
}

// errWithdrawn says that an instance that was withdrawn is not registered any more.
var errWithdrawn = errors.New("withdrawn")

// report tells the state, and registers the instance if the agent does not know
// it. It returns whether it does now, as far as can be told.
func (r *Registrar) report(ctx context.Context, registered bool) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if registered {
		status, output := r.registration.status()
		q := (&api.QueryOptions{}).WithContext(ctx)
		err := r.agent.Agent().UpdateTTLOpts(r.registration.checkID(), output, status, q)
		var answer api.StatusError
		if !errors.As(err, &answer) || answer.Code != http.StatusNotFound {
			return true, err
		}
		r.logger.Warn("consul has forgotten this instance")
	}
	select {
	case <-r.withdrawn:
		return false, errWithdrawn
	default:
	}
	service, err := r.registration.service()
	if err != nil {
		return false, err
	}
	// Checks of an earlier life, by another version, would fail for ever.
	o := api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)
	if err := r.agent.Agent().ServiceRegisterOpts(service, o); err != nil {
		return false, err
	}
	r.logger.Info("registered in consul", "address", service.Address, "port", service.Port)
	return true, nil
}

func (r *Registrar) deregister(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, farewellTime)
	defer cancel()
	err := r.agent.Agent().ServiceDeregisterOpts(r.registration.id(), (&api.QueryOptions{}).WithContext(ctx))
	var answer api.StatusError
	switch {
	case errors.As(err, &answer) && answer.Code == http.StatusNotFound: // It is gone already.
	case err != nil:
		r.logger.Warn("not deregistered, consul drops the instance by itself", "err", err, "after", forgetAfter)
	default:
		r.logger.Info("deregistered from consul")
	}
}
