package receiver

import (
	"errors"
	"fmt"
	"net/http"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/identity"
	"github.com/promgrpc/exporter/internal/tenant"
	"github.com/promgrpc/exporter/internal/usage"
)

// writers are those who may write, as far as the access file has policies, and the
// tenants whose series they write.
type writers struct {
	TenantConfig
	access *access.File // nil: whoever the listener lets in
}

// check returns what the access file needs and the configuration lacks.
func (w *writers) check() error {
	if w.TenantLabel == "" && w.access.HasTenants() {
		return usage.Errorf("%s has a policy that writes as a tenant, which takes %s", access.Flag, flagTenantLabel)
	}
	return nil
}

// again reads the access file again, nil if there is none.
func (w *writers) again() func() error {
	again := w.access.Again()
	if again == nil {
		return nil
	}
	return func() error {
		if err := again(); err != nil {
			return err
		}
		return w.check()
	}
}

// provesToken says whether the bearer token of a request, if it has one, is looked up in
// the policies.
func (w *writers) provesToken(r *http.Request) bool {
	return (r.URL.Path == "/" || r.URL.Path == writePath) && w.access.HasPolicies()
}

// denial is why a sender may not write, or not as this tenant.
type denial struct {
	reason string
	err    error
}

func (d *denial) Error() string { return d.err.Error() }

// otherTenant is the reason where the policy writes as another tenant than is named.
const otherTenant = "other_tenant"

// admit returns the policy of a request's sender, if that may write, and nil where there
// are no policies.
func (w *writers) admit(r *http.Request) (*access.Policy, error) {
	p, err := w.access.Policy(identity.Of(r.Context()))
	if err == nil {
		err = p.Check(access.ToWrite)
	}
	if err == nil {
		return p, nil
	}
	var denied *access.Denied
	if !errors.As(err, &denied) {
		return nil, err
	}
	status := http.StatusForbidden
	if denied.Unauthenticated {
		status = http.StatusUnauthorized
	}
	return nil, refuse(status, &denial{denied.Reason, denied})
}

// tenantFor returns the tenant of what is written under a policy, nil if it has none.
func (w *writers) tenantFor(p *access.Policy, h http.Header) (*linkv1.Label, error) {
	named, err := w.tenantOf(h)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, err)
	}
	if p == nil || p.Write.Tenant == "" {
		return named, nil
	}
	switch own := p.Write.Tenant; {
	case w.TenantLabel == "": // Since the file was read again: the operator was told.
		return nil, refuse(http.StatusServiceUnavailable, fmt.Errorf("policy %s writes as a tenant, which takes %s here", p.Name, flagTenantLabel))
	case named != nil && named.GetValue() != own:
		return nil, refuse(http.StatusForbidden, &denial{otherTenant, fmt.Errorf(
			"policy %s writes as the tenant %q, the header %s names %q: leave it out", p.Name, own, tenant.Header, named.GetValue())})
	default:
		return &linkv1.Label{Name: w.TenantLabel, Value: own}, nil
	}
}
