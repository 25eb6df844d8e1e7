package receiver

import (
	"context"
	"errors"
	"fmt"
	"sync"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/receiver/assign"
	"github.com/promgrpc/exporter/receiver/split"
)

// origin is whose requests belong together.
type origin struct {
	name    string // its tenant or policy
	address string
}

func (o origin) assigned() assign.Sender { return assign.SenderOf(o.name, o.address) }

// write gets a verdict on a sender's batch: that of its forwarder, or those of all groups
// that have a part of it, as one. room is asked before memory is taken, with all that is.
// An error may pass, unless it is a refusal.
func (g *groups) write(ctx context.Context, from origin, batch *linkv1.Batch, room func(int64) error) (*linkv1.Verdict, error) {
	for {
		to := g.current.Load()
		if to.placement == nil {
			return to.pools[0].write(ctx, from.assigned(), nil, batch)
		}
		v, err := g.spread(ctx, to, from, batch, room)
		if !errors.Is(err, errReplaced) || g.current.Load() == to {
			return v, err
		}
	}
}

// spread writes a batch as a placement says. While another one is known to be in force, no
// group gets a part of it.
func (g *groups) spread(ctx context.Context, to *routes, from origin, batch *linkv1.Batch, room func(int64) error) (*linkv1.Verdict, error) {
	if err := g.file.Behind(to.placement); err != nil {
		return nil, err
	}
	rule := ruleOf(to.placement, from, batch.GetTenant())
	parts, err := rule.Split(split.Schema(batch.GetSchema()), batch.GetBody(), room)
	if errors.Is(err, split.ErrDamaged) {
		return &linkv1.Verdict{Code: linkv1.Code_CODE_INVALID, Errors: []string{err.Error()}}, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		for i := range parts {
			parts[i].Release()
		}
	}()
	if err := room(split.Held(parts)); err != nil {
		return nil, err
	}
	return to.send(ctx, from, batch, parts)
}

func ruleOf(p *placement.Placement, from origin, tenant *linkv1.Label) split.Rule {
	r := split.Rule{Placement: p, TenantLabel: tenant.GetName(), Tenant: tenant.GetValue()}
	switch p.Spread() {
	case placement.BySender:
		r.Key = placement.KeyOf(from.name, from.address)
	case placement.ByTenant:
		r.Key = placement.KeyOf(tenant.GetValue())
	}
	return r
}

// send sends the parts, all at once, and returns what became of them together.
func (to *routes) send(ctx context.Context, from origin, batch *linkv1.Batch, parts []split.Part) (*linkv1.Verdict, error) {
	outcomes := make([]outcome, len(parts))
	var wg sync.WaitGroup
	send := func(i int) {
		part, o := &parts[i], &outcomes[i]
		o.group = to.placement.Groups()[part.Group]
		p := to.pools[part.Group]
		if p == nil {
			o.verdict = gone(o.group, part.Series)
			return
		}
		o.verdict, o.err = p.write(ctx, from.assigned(), to.placement, &linkv1.Batch{Schema: batch.GetSchema(), Tenant: batch.GetTenant(), Body: part.Body})
	}
	for i := 1; i < len(parts); i++ {
		wg.Go(func() { send(i) })
	}
	send(0)
	wg.Wait()
	return merge(outcomes)
}

// gone is the verdict on samples of a time at which a group had them that is no more.
func gone(group string, series int) *linkv1.Verdict {
	return &linkv1.Verdict{Code: linkv1.Code_CODE_INVALID, Rejected: uint64(series), Errors: []string{
		fmt.Sprintf("by their timestamps the samples of %d series belong to group %s, which %s has no longer", series, group, placement.Flag),
	}}
}
