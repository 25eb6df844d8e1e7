package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/archive/plan"
)

// Retention of the bucket is by its own clock, as far as its newest object shows it, or by
// the server's if that is behind: if either is wrong, nothing is deleted before its time. One server at a time does
// it, by a lease; the lease says from which block on logs are kept, so that nobody uploads
// again what has gone.

// mostFloors is how many bytes a lease may have.
const mostFloors = 1 << 20

// learnLease takes the newest lease of a list, and what it says.
func (a *Archive) learnLease(ctx context.Context, l *listing) error {
	a.leaseMu.Lock()
	defer a.leaseMu.Unlock()
	a.lease.Known(time.Now(), l.lease)
	if l.lease <= a.floorsOf {
		return nil
	}
	ctx, cancel := within(ctx, mostFloors)
	defer cancel()
	a.metrics.requests.WithLabelValues("get").Inc()
	r, err := a.bucket.Open(ctx, layout.LeaseName(l.lease), 0, mostFloors)
	if errors.Is(err, bucket.ErrNotFound) {
		return nil // Another one has come.
	}
	if !a.health.did(err) {
		return fmt.Errorf("lease of retention: %w", err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if !a.health.did(err) {
		return fmt.Errorf("lease of retention: %w", err)
	}
	a.floorsOf = l.lease
	a.setFloors(plan.ParseFloors(string(text)))
	return nil
}

// setFloors takes from which blocks on logs are kept.
func (a *Archive) setFloors(floors map[segment.LogID]uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, first := range floors {
		a.floors[id] = max(a.floors[id], first)
		if u := a.uploader[id]; u != nil {
			u.planned(func(l *plan.Log) { l.SetFloor(first) })
		}
		if r := a.replicas.Get(id); r != nil {
			r.Log.SetExpired(a.floors[id])
		}
	}
}

// retain applies the retention to what a list said, if this server may, and removes
// pieces that were left beside sealed segments.
func (a *Archive) retain(ctx context.Context, l *listing) error {
	if err := a.removeLeftovers(ctx); err != nil {
		return err
	}
	if a.config.RetentionTime == 0 && a.config.RetentionSize == 0 {
		return nil
	}
	a.leaseMu.Lock()
	defer a.leaseMu.Unlock()
	began := time.Now()
	number, may := a.lease.Try(began)
	if !may {
		return nil
	}
	kept := a.catalogue.kept()
	now := l.newest
	if began.Before(now) {
		now = began
	}
	expired := plan.Expired(kept, now, a.config.RetentionTime, int64(a.config.RetentionSize))
	floors := plan.Floors(kept, expired)
	a.mu.Lock()
	all := maps.Clone(a.floors)
	a.mu.Unlock()
	for id, first := range floors {
		all[id] = max(all[id], first)
	}
	if err := a.takeLease(ctx, number, plan.FormatFloors(all)); err != nil {
		return err
	}
	a.floorsOf = number
	a.setFloors(all)
	for _, old := range l.leases {
		if err := a.remove(ctx, layout.LeaseName(old)); err != nil {
			return err
		}
	}
	for i := range expired {
		if !a.lease.Holds(time.Now(), number, began) {
			return nil // The rest goes the next time.
		}
		if err := a.expire(ctx, &expired[i]); err != nil {
			return err
		}
	}
	return nil
}

// takeLease creates a lease. Another server may have been faster: then it has it.
func (a *Archive) takeLease(ctx context.Context, number uint64, content []byte) error {
	ctx, cancel := within(ctx, int64(len(content)))
	defer cancel()
	a.metrics.requests.WithLabelValues("create").Inc()
	err := a.bucket.Create(ctx, layout.LeaseName(number), bytes.NewReader(content), int64(len(content)))
	a.health.did(err)
	if err == nil || errors.Is(err, bucket.ErrExists) {
		a.lease.Known(time.Now(), number)
	}
	return err
}

// expire deletes a segment.
func (a *Archive) expire(ctx context.Context, k *plan.Kept) error {
	objects := a.catalogue.objects(k.Log, k.Segment)
	a.catalogue.drop(k.Log, k.Segment) // before the objects, so that fewer readers look for them in vain
	for _, object := range objects {
		if err := a.remove(ctx, object); err != nil {
			return err
		}
	}
	a.metrics.expired.Inc()
	a.logger.Info("segment deleted by the bucket's retention", "log_id", k.Log.String(), "segment", k.Segment, "bytes", k.Size)
	return nil
}

func (a *Archive) remove(ctx context.Context, object string) error {
	ctx, cancel := within(ctx, 0)
	defer cancel()
	a.metrics.requests.WithLabelValues("delete").Inc()
	err := a.bucket.Delete(ctx, object)
	a.health.did(err)
	return err
}

// removeLeftovers deletes pieces of segments that are sealed: who sealed them did not come
// to it.
func (a *Archive) removeLeftovers(ctx context.Context) error {
	for _, object := range a.catalogue.leftovers() {
		if err := a.remove(ctx, object.Name()); err != nil {
			return err
		}
		a.catalogue.dropPiece(object.Log, object.Segment, object.Offset)
	}
	return nil
}

// kept are all segments in the bucket.
func (c *catalogue) kept() []plan.Kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	var kept []plan.Kept
	for id, segments := range c.logs {
		for name, e := range segments {
			k := plan.Kept{Log: id, Segment: name, First: e.info.FirstSequence, Size: e.size(), Written: e.written, Modified: e.modified}
			if k.Modified.IsZero() {
				continue // It came after the list.
			}
			if k.Written.IsZero() || !e.sealed {
				k.Written = k.Modified
			}
			kept = append(kept, k)
		}
	}
	return kept
}

// objects are the names of all objects of a segment, the last piece first.
func (c *catalogue) objects(id segment.LogID, name string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.logs[id][name]
	if e == nil {
		return nil
	}
	var names []string
	for i := len(e.pieces) - 1; i >= 0; i-- {
		names = append(names, layout.Object{Log: id, Segment: name, Piece: true, Offset: e.pieces[i].Offset}.Name())
	}
	if e.sealed {
		names = append(names, layout.Object{Log: id, Segment: name}.Name())
	}
	return names
}

// leftovers are pieces that two lists had beside the sealed segment.
func (c *catalogue) leftovers() []layout.Object {
	c.mu.Lock()
	defer c.mu.Unlock()
	var left []layout.Object
	for id, segments := range c.logs {
		for name, e := range segments {
			if !e.sealed || e.bad || e.leftover < 2 || e.chainEnd() > e.info.Size {
				continue // What has more than the sealed one has stays.
			}
			for i := len(e.pieces) - 1; i >= 0; i-- {
				left = append(left, layout.Object{Log: id, Segment: name, Piece: true, Offset: e.pieces[i].Offset})
			}
		}
	}
	return left
}
