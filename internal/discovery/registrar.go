package discovery

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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
	// process tells this process from others at the same address.
	process string

	// id that is registered, "" for none, and the token that it was with: Consul
	// tells its servers of it with that one.
	id, token string
	// tried is the ID that was to be registered last, which may have worked.
	tried string

	withdrawOnce sync.Once
	withdrawn    chan struct{}
}

// NewRegistrar checks the address of the agent, and what to register. It asks nobody
// yet.
func NewRegistrar(r Registration, logger *slog.Logger) (*Registrar, error) {
	logger = logger.With("consul", r.Consul, "service", r.Service)
	agent, err := newConsulAgent(r.Consul, logger)
	if err != nil {
		return nil, fmt.Errorf("--consul: %w", err)
	}
	for _, tag := range r.ConsulTags {
		if err := checkTag(tag); err != nil {
			return nil, fmt.Errorf("--consul.tag: %w", err)
		}
	}
	if r.AdvertiseAddress != "" {
		if _, err := r.advertised(r.Listener, agent.at); err != nil {
			return nil, fmt.Errorf("--advertise-address: %w", err)
		}
	}
	return &Registrar{registration: r, agent: agent, process: rand.Text(), withdrawn: make(chan struct{}), logger: logger}, nil
}

// Reload returns what reloads the files that Consul's environment variables name, and
// says if that fails. Each request reloads them, too. It is nil for a nil registrar.
func (r *Registrar) Reload() func() error {
	if r == nil {
		return nil
	}
	return r.agent.reload
}

// Withdraw reports the instance's state, which Ready gives, at once, and from now on
// does not register it again if Consul forgets it. It does not wait, and may be called
// twice.
func (r *Registrar) Withdraw() { r.withdrawOnce.Do(func() { close(r.withdrawn) }) }

// Run registers the instance and reports its state until ctx ends. Then it
// deregisters it. While the agent cannot be reached it tries again.
func (r *Registrar) Run(ctx context.Context) error {
	defer r.agent.transport.CloseIdleConnections()
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	withdrawn := r.withdrawn
	failing := false
	for {
		err := r.keep(ctx)
		if ctx.Err() != nil {
			break
		}
		// One line a change of state. Having been withdrawn is none.
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

// keep reports the state. Before that it registers the instance, if the agent does
// not know it, or if the token is another one.
func (r *Registrar) keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if r.id == "" {
		return r.registerUnlessWithdrawn(ctx)
	}
	ours, err := r.owns(ctx, r.id)
	switch {
	case isNotFound(err):
		r.logger.Warn("consul has forgotten this instance", "id", r.id)
		r.id = ""
		return r.registerUnlessWithdrawn(ctx)
	case err != nil:
		return err
	case !ours:
		return fmt.Errorf("another process is registered as %s: two have the same address and port, one needs another --advertise-address or port", r.id)
	case r.token != r.agent.token.Get():
		return r.register(ctx)
	}
	return r.report(ctx)
}

func (r *Registrar) registerUnlessWithdrawn(ctx context.Context) error {
	select {
	case <-r.withdrawn:
		return errWithdrawn
	default:
		return r.register(ctx)
	}
}

// owns says whether what is registered was registered by this process.
func (r *Registrar) owns(ctx context.Context, id string) (bool, error) {
	service, _, err := r.agent.Agent().Service(id, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return false, err
	}
	return service.Meta[MetaProcess] == r.process, nil
}

func (r *Registrar) report(ctx context.Context) error {
	status, output := r.registration.status()
	return r.agent.Agent().UpdateTTLOpts(checkID(r.id), output, status, (&api.QueryOptions{}).WithContext(ctx))
}

func (r *Registrar) register(ctx context.Context) error {
	host, err := r.registration.advertised(r.registration.Listener, r.agent.at)
	if err != nil {
		return err
	}
	service := r.registration.service(host, r.process)
	token := r.agent.token.Get()
	r.tried = service.ID
	// Checks that another version registered before would fail from now on.
	o := api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)
	if err := r.agent.Agent().ServiceRegisterOpts(service, o); err != nil {
		return err
	}
	r.id, r.token = service.ID, token
	r.logger.Info("registered in consul", "id", r.id, "address", service.Address, "port", service.Port)
	return nil
}

// deregister leaves what another process has registered meanwhile.
func (r *Registrar) deregister(ctx context.Context) {
	if r.tried == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, farewellTime)
	defer cancel()
	ours, err := r.owns(ctx, r.tried)
	if err == nil && ours {
		err = r.agent.Agent().ServiceDeregisterOpts(r.tried, (&api.QueryOptions{}).WithContext(ctx))
	}
	switch {
	case isNotFound(err): // It is gone already.
	case err != nil:
		r.logger.Warn("not deregistered, consul drops the instance by itself", "err", err, "after", forgetAfter)
	case !ours:
		r.logger.Info("not deregistered, another process is registered", "id", r.tried)
	default:
		r.logger.Info("deregistered from consul", "id", r.tried)
	}
}

func isNotFound(err error) bool {
	var answer api.StatusError
	return errors.As(err, &answer) && answer.Code == http.StatusNotFound
}
