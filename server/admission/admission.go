// Package admission is what the callers of a server may do, by the access file.
//
// Guaranteed: what a policy says is prepared once, when the file is read. The budgets of a
// policy are of all its callers together, for as long as it says the same.
package admission

import (
	"log/slog"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/identity"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/selection"
)

// Admission knows who may do what. A nil one lets everybody do everything.
type Admission struct{ file *access.File }

// Open reads the access file. It is nil for "".
func Open(path string, limits selection.Limits, logger *slog.Logger) (*Admission, error) {
	if path == "" {
		return nil, nil
	}
	a := &Admission{}
	var err error
	if a.file, err = access.OpenFor(path, logger, func(p *access.Policy) (any, error) { return a.prepare(p, limits) }); err != nil {
		return nil, err
	}
	return a, nil
}

// File is the access file, nil without one.
func (a *Admission) File() *access.File {
	if a == nil {
		return nil
	}
	return a.file
}

// prepare makes the rights of a policy that may read.
func (a *Admission) prepare(p *access.Policy, limits selection.Limits) (*Rights, error) {
	r := &Rights{policy: p, admission: a}
	if p.Restricted() {
		var err error
		if r.allowed, err = limits.Compile(p.Read.Selectors); err != nil {
			return nil, err
		}
	}
	where := "policy " + p.Name + ": "
	if n := p.Read.Streams; n > 0 {
		r.streams = limit.NewNamedBudget("policy-streams", where+"streams", "streams", n)
	}
	if n := p.Read.Memory; n > 0 {
		r.memory = limit.NewNamedBudget("policy-memory", where+"memory", "bytes", n)
	}
	return r, nil
}

// Of returns what a caller may do, nil for everything. Its error is an
// *[access.Denied].
func (a *Admission) Of(id identity.Identity) (*Rights, error) {
	if a == nil {
		return nil, nil
	}
	p, err := a.file.Policy(id)
	if p == nil {
		return nil, err
	}
	if r, ok := p.Prepared.(*Rights); ok {
		return r, nil
	}
	return &Rights{policy: p, admission: a}, nil // it may not read
}

// Version changes whenever what anybody may do has changed.
func (a *Admission) Version() any { return a.File().Version() }

// Rights is what a caller may do. A nil one is everything.
type Rights struct {
	policy    *access.Policy
	admission *Admission
	allowed   *selection.Selection
	// streams and memory that all callers of the policy share, nil for no limits but
	// those of everybody.
	streams, memory *limit.Budget
}

// Streams that all callers of the policy share, nil for no limit but that of everybody.
func (r *Rights) Streams() *limit.Budget {
	if r == nil {
		return nil
	}
	return r.streams
}

// Memory is the same of what their calls and streams take.
func (r *Rights) Memory() *limit.Budget {
	if r == nil {
		return nil
	}
	return r.memory
}

// Check returns an *[access.Denied] unless the caller has a right.
func (r *Rights) Check(right access.Right) error {
	if r == nil {
		return nil
	}
	return r.policy.Check(right)
}

// Same says whether two callers may do the same, by the same policy.
func (r *Rights) Same(other *Rights) bool {
	return r == other || r != nil && other != nil && r.policy == other.policy
}

// Restricted says whether the caller may see some series only. Then nothing that it gets
// may tell of others.
func (r *Rights) Restricted() bool { return r != nil && r.policy.Restricted() }

// Viewer is the caller where series are selected.
func (r *Rights) Viewer(peer string) selection.Viewer {
	v := selection.Viewer{Peer: peer, Memory: r.Memory()}
	if r != nil {
		v.Allowed = r.allowed
	}
	return v
}

// Cursor returns the token of a cursor for the caller.
func (r *Rights) Cursor(c *cursor.Cursor) string {
	if !r.Restricted() {
		return c.String()
	}
	keys := r.admission.file.Keys()
	if len(keys) == 0 {
		return "" // The file was just changed, and so are the rights of this caller.
	}
	return c.Seal(keys[0], r.policy.Name)
}

// ParseCursor reads a token of the caller.
func (r *Rights) ParseCursor(token string) (*cursor.Cursor, error) {
	if r.Restricted() || r != nil && cursor.IsSealed(token) {
		return cursor.Open(token, r.admission.file.Keys(), r.policy.Name)
	}
	return cursor.Parse(token)
}
