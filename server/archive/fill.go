package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/archive/plan"
	"github.com/promgrpc/exporter/server/replica"
)

const (
	// fillsAtOnce is how many logs are filled at a time.
	fillsAtOnce = 4
	// recently is how much older than the newest object that of a log may be that is
	// filled: one that is older has ended, and is read from the bucket where it is asked
	// for.
	recently = time.Hour
	// fillBytes are read at a time, unless a frame is larger.
	fillBytes = 1 << 20
)

// fill takes from the bucket what this server lacks of the logs that were written lately,
// and of those on its disk, and then has it know which requests are in what it did not take.
func (a *Archive) fill(ctx context.Context) {
	group, filling := errgroup.WithContext(ctx)
	group.SetLimit(fillsAtOnce)
	for _, id := range a.catalogue.recent() {
		group.Go(func() error {
			began := time.Now()
			n, err := a.fillLog(filling, id)
			if n > 0 {
				a.logger.Info("log filled from the bucket", "log_id", id.String(), "bytes", n, "duration", time.Since(began))
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				a.logger.Warn("a log is not filled from the bucket: what is missing comes from forwarders", "log_id", id.String(), "err", err)
			}
			return nil
		})
	}
	_ = group.Wait() // All were logged.
	for failures := 1; a.replicas.Recall(ctx) != nil; failures++ {
		if backoff.Sleep(ctx, backoff.Pause(a.health.least, fillTime, failures)) != nil {
			break // Recall goes on in the background.
		}
	}
	a.mu.Lock()
	a.filledAt = time.Now()
	a.mu.Unlock()
}

// fillUnfed asks the bucket, once nobody feeds a log, what it has of it, and takes what is
// missing here: its forwarder may have gone for good, and servers may have lost their ends
// in a power cut.
func (a *Archive) fillUnfed(ctx context.Context) {
	unfed, failed := map[segment.LogID]time.Time{}, map[segment.LogID]string{}
	for backoff.Sleep(ctx, a.config.Interval) == nil {
		for _, r := range a.replicas.All() {
			if r.Connected() {
				delete(unfed, r.ID)
				continue
			}
			if unfed[r.ID].IsZero() {
				// A log ends once the bucket was asked after the peers' exchange noticed, too,
				// that nobody feeds it: that has happened an interval later.
				unfed[r.ID] = time.Now().Add(a.config.Interval)
			}
			if a.health.wait(ctx) != nil {
				return
			}
			err := a.complete(ctx, r, unfed[r.ID])
			if err != nil && failed[r.ID] != err.Error() && ctx.Err() == nil {
				failed[r.ID] = err.Error()
				a.logger.Warn("the end of a log that nobody feeds is not taken from the bucket", "log_id", r.ID.String(), "err", err)
			}
		}
	}
}

// complete takes from the bucket what is missing at the end of a log that nobody feeds. What
// the bucket said before a time is asked again.
func (a *Archive) complete(ctx context.Context, r *replica.Replica, before time.Time) error {
	if !a.Asked(r.ID).After(before) {
		if err := a.catalogue.refreshLog(ctx, r.ID); err != nil {
			return nil //nolint:nilerr // It was noted, and is tried again.
		}
	}
	if r.Connected() {
		return nil
	}
	n, err := a.fillLog(ctx, r.ID)
	if n > 0 {
		a.logger.Info("the end of a log that nobody feeds was taken from the bucket", "log_id", r.ID.String(), "bytes", n)
	}
	return err
}

// FilledAt is when the server was filled from the bucket, zero if it was not.
func (a *Archive) FilledAt() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.filledAt
}

// recent returns the logs that a server is filled with: those that are on its disk, and
// those that were written last, as many as there are places.
func (c *catalogue) recent() []segment.LogID {
	type log struct {
		id       segment.LogID
		modified time.Time
	}
	var logs []log
	var newest time.Time
	c.mu.Lock()
	for id, segments := range c.logs {
		l := log{id: id}
		for _, e := range segments {
			if e.modified.After(l.modified) {
				l.modified = e.modified
			}
		}
		logs = append(logs, l)
		if l.modified.After(newest) {
			newest = l.modified
		}
	}
	c.mu.Unlock()
	slices.SortFunc(logs, func(a, b log) int {
		if d := b.modified.Compare(a.modified); d != 0 {
			return d
		}
		return bytes.Compare(a.id[:], b.id[:])
	})
	places := cursor.MaxLogs
	var ids []segment.LogID
	for _, l := range logs {
		local := c.archive.isLocal(l.id)
		if local || newest.Sub(l.modified) <= recently && places > 0 {
			ids = append(ids, l.id)
			places--
		}
	}
	return ids
}

// filler feeds a replica from the bucket, until a forwarder comes.
type filler struct{ stop context.CancelFunc }

// Interrupt implements [replica.Feeder].
func (f *filler) Interrupt() { f.stop() }

// fillLog takes of one log what is missing here, and returns how many bytes that was.
func (a *Archive) fillLog(ctx context.Context, id segment.LogID) (int64, error) {
	stored := a.catalogue.stored(id)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if len(plan.Fill(a.newestHere(id), stored)) == 0 {
		return 0, nil
	}
	f, err := a.replicas.LeaseOwned(ctx, id, &filler{stop})
	if err != nil {
		return 0, err
	}
	defer f.Release()
	var n int64
	for _, take := range plan.Fill(newest(f.Log), stored) {
		m, err := a.take(ctx, f, take)
		if n += m; err != nil {
			return n, err
		}
	}
	if last, _, ok := f.Position(); ok {
		f.SetTail(last)
	}
	return n, nil
}

func (a *Archive) newestHere(id segment.LogID) *plan.Segment {
	for _, r := range a.replicas.All() {
		if r.ID == id {
			return newest(r.Log)
		}
	}
	return nil
}

// newest is the newest segment of a log on the disk, nil for none.
func newest(l *seglog.Log) *plan.Segment {
	local := l.OnDisk()
	if len(local) == 0 {
		return nil
	}
	s := local[len(local)-1]
	return &plan.Segment{Name: s.Name, First: s.FirstSequence, Last: s.LastSequence, Size: s.Size, Sealed: s.Sealed}
}

// take appends a part of a segment to a log.
func (a *Archive) take(ctx context.Context, f *replica.Feeding, t plan.Take) (int64, error) {
	defer a.replicas.Updates.Wake()
	if t.Start {
		if err := f.StartSegment(t.Segment, t.First); err != nil {
			return 0, err
		}
	}
	from, err := a.OpenSegment(f.ID, t.Segment)
	if err != nil {
		return 0, err
	}
	defer from.Close()
	at := t.Offset
	for at < t.Size {
		if ctx.Err() != nil {
			return at - t.Offset, context.Cause(ctx)
		}
		data, err := wholeFrames(from, at, t.Size)
		if err != nil {
			return at - t.Offset, fmt.Errorf("segment %s at %d: %w", t.Segment, at, err)
		}
		if err := f.Append(uint64(at), data); err != nil {
			return at - t.Offset, err
		}
		at += int64(len(data))
	}
	return at - t.Offset, nil
}

// wholeFrames reads whole frames from an offset on, after the file header at 0.
func wholeFrames(r io.ReaderAt, at, end int64) ([]byte, error) {
	size := min(fillBytes, end-at)
	for {
		b := make([]byte, size)
		if n, err := r.ReadAt(b, at); n < len(b) {
			return nil, err
		}
		n := 0
		if at == 0 {
			n = segment.HeaderSize
		}
		begin := n
		need := int64(n) + segment.FrameHeaderSize
		for len(b)-n >= segment.FrameHeaderSize {
			h, err := segment.ParseFrameHeader(b[n:])
			if err != nil {
				return nil, err
			}
			if need = int64(n) + h.Len(); need > int64(len(b)) {
				break
			}
			n = int(need)
			need += segment.FrameHeaderSize
		}
		switch {
		case n > begin:
			return b[:n], nil
		case need > end-at || need <= size:
			return nil, segment.ErrShort
		}
		size = need
	}
}
