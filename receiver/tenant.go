package receiver

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/alecthomas/kingpin/v2"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/tenant"
	"github.com/promgrpc/exporter/internal/usage"
)

const flagTenantLabel = "--tenant.label"

// TenantConfig says what becomes of a sender's tenant.
type TenantConfig struct {
	// TenantLabel is the label that it is stored as. "": there are no tenants.
	TenantLabel string
}

// RegisterFlags adds --tenant.label, which defaults to what c holds.
func (c *TenantConfig) RegisterFlags(app *kingpin.Application) {
	app.Flag(flagTenantLabel[2:], "Label that the value of the header "+tenant.Header+" is stored as, on each series of a request, in place of what the request has under that name. Without it, requests with that header are refused.").
		Default(c.TenantLabel).PlaceHolder("NAME").StringVar(&c.TenantLabel)
}

func (c *TenantConfig) check() error {
	if c.TenantLabel == "" {
		return nil
	}
	if err := tenant.CheckLabel(c.TenantLabel); err != nil {
		return usage.Errorf("%s: %w", flagTenantLabel, err)
	}
	return nil
}

// tenantHeader is as net/http has it.
var tenantHeader = http.CanonicalHeaderKey(tenant.Header)

// foreignTenants are headers by which other receivers than Prometheus' know a tenant:
// those of Thanos and VictoriaMetrics.
var foreignTenants = []string{"Thanos-Tenant", "Accountid", "Projectid"}

// tenantOf returns the label of a request's tenant, nil if it has none. A tenant is never
// left out: its series would be mixed with those of others.
func (c *TenantConfig) tenantOf(h http.Header) (*linkv1.Label, error) {
	for _, name := range foreignTenants {
		if h[name] != nil {
			return nil, fmt.Errorf("the header %s is not known here: a tenant is in %s", name, tenant.Header)
		}
	}
	named := h[tenantHeader]
	switch {
	case len(named) == 0:
		return nil, nil
	case c.TenantLabel == "":
		return nil, fmt.Errorf("the header %s names the tenant %q, and tenants are not stored here: that takes %s", tenant.Header, daemon.Excerpt(named[0]), flagTenantLabel)
	case len(named) > 1:
		return nil, errors.New("the header " + tenant.Header + " is there more than once")
	}
	if err := tenant.Check(named[0]); err != nil {
		return nil, fmt.Errorf("the header %s: %w", tenant.Header, err)
	}
	return &linkv1.Label{Name: c.TenantLabel, Value: named[0]}, nil
}
