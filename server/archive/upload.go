package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/archive/plan"
	"github.com/promgrpc/exporter/server/replica"
)

// uploader uploads one log.
type uploader struct {
	archive *Archive
	replica *replica.Replica
	ctx     context.Context
	stop    context.CancelFunc
	bad     map[string]bool // segments with bytes that are not to be uploaded
	told    bool            // that the log has diverged

	mu      sync.Mutex
	plan    *plan.Log
	reached map[string]reached
	pending int64
}

// reached is the last block of a segment that ends up to an offset.
type reached struct {
	end  int64
	last uint64
}

// uploadAll has an uploader for each log on the disk, until ctx ends.
func (a *Archive) uploadAll(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		a.matchUploaders(ctx, &running)
		if backoff.Sleep(ctx, a.config.pace()) != nil {
			return
		}
	}
}

// pace is how often it is looked at what is on the disk.
func (c *Config) pace() time.Duration { return max(c.Interval/8, 10*time.Millisecond) }

// matchUploaders starts and stops uploaders, so that there is one for each log.
func (a *Archive) matchUploaders(ctx context.Context, running *sync.WaitGroup) {
	if !a.catalogue.isListed() {
		return // It is not known yet what need not be uploaded.
	}
	present := map[segment.LogID]bool{}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.replicas.All() {
		present[r.ID] = true
		if u := a.uploader[r.ID]; u != nil && u.replica == r {
			continue
		} else if u != nil {
			u.stop()
		}
		u := a.newUploader(ctx, r)
		a.uploader[r.ID] = u
		running.Go(func() { u.run() })
	}
	for id, u := range a.uploader {
		if !present[id] {
			u.stop()
			delete(a.uploader, id)
		}
	}
}

// newUploader returns one that knows what the catalogue does. The caller holds mu.
func (a *Archive) newUploader(ctx context.Context, r *replica.Replica) *uploader {
	u := &uploader{archive: a, replica: r, bad: map[string]bool{}, reached: map[string]reached{}}
	u.plan = plan.NewLog(time.Now(), a.config.Interval, rand.N(a.config.Interval))
	u.plan.SetFloor(a.floors[r.ID])
	a.catalogue.tell(r.ID, u.plan)
	u.ctx, u.stop = context.WithCancel(ctx)
	return u
}

// run takes one step after the other.
func (u *uploader) run() {
	pace := u.archive.config.pace()
	for {
		local := u.local()
		step := u.next(local)
		if step.Do == plan.Wait {
			u.report(local)
			pause := min(max(time.Until(step.Until), pace), 4*pace)
			if backoff.Sleep(u.ctx, pause) != nil {
				return
			}
			continue
		}
		if u.archive.health.wait(u.ctx) != nil {
			return
		}
		err := u.do(step, local)
		if u.ctx.Err() != nil {
			return
		}
		if err != nil && backoff.Sleep(u.ctx, pace) != nil {
			return
		}
		u.report(local)
	}
}

// local is what is on the disk.
func (u *uploader) local() []plan.Segment {
	var local []plan.Segment
	for _, s := range u.replica.Log.OnDisk() {
		local = append(local, plan.Segment{
			Name: s.Name, First: s.FirstSequence, Last: s.LastSequence, Size: s.Size, Sealed: s.Sealed,
			Damaged: s.Err != nil || u.bad[s.Name],
		})
	}
	return local
}

func (u *uploader) next(local []plan.Segment) plan.Step {
	u.mu.Lock()
	defer u.mu.Unlock()
	step := u.plan.Next(time.Now(), local)
	if why := u.plan.Diverged(); why != "" && !u.told {
		u.told = true
		u.archive.metrics.diverged.Inc()
		u.archive.logger.Error("the bucket has other bytes of a log than this server, which uploads nothing more of it", "log_id", u.replica.ID.String(), "why", why)
	}
	return step
}

// do takes a step. The error says that something is to be waited for.
func (u *uploader) do(step plan.Step, local []plan.Segment) error {
	switch step.Do {
	case plan.Look:
		return u.look(step, local)
	case plan.Create:
		return u.create(step, local)
	case plan.Delete:
		return u.remove(step)
	}
	return nil
}

func (u *uploader) object(step plan.Step) layout.Object {
	return layout.Object{Log: u.replica.ID, Segment: step.Segment, Piece: step.Piece, Offset: step.Offset}
}

// planned calls the plan.
func (u *uploader) planned(f func(l *plan.Log)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(u.plan)
}

// look asks whether an object is there, and compares it with what is on the disk.
func (u *uploader) look(step plan.Step, local []plan.Segment) error {
	a := u.archive
	ctx, cancel := within(u.ctx, 0)
	defer cancel()
	object, err := a.stat(ctx, u.object(step).Name())
	switch {
	case errors.Is(err, bucket.ErrNotFound):
		a.health.did(nil)
		u.planned(func(l *plan.Log) { l.Missing(time.Now(), step) })
		return nil
	case !a.health.did(err):
		return err
	}
	if step.Piece {
		return u.foundPiece(step, object.Size, find(local, step.Segment))
	}
	return u.foundSealed(ctx, step, object.Size, find(local, step.Segment))
}

func find(local []plan.Segment, name string) *plan.Segment {
	for i := range local {
		if local[i].Name == name {
			return &local[i]
		}
	}
	return nil
}

func (u *uploader) foundPiece(step plan.Step, size int64, s *plan.Segment) error {
	u.planned(func(l *plan.Log) { l.Found(time.Now(), step, size) })
	u.archive.catalogue.addPiece(u.replica.ID, step.Segment, layout.Piece{Offset: step.Offset, Size: size})
	if end := step.Offset + size; s != nil && end <= s.Size {
		if _, err := u.reach(s, end); err != nil {
			u.diverge(fmt.Errorf("a piece of segment %s ends at %d in the bucket: %w", step.Segment, end, err))
		}
	}
	return nil
}

func (u *uploader) foundSealed(ctx context.Context, step plan.Step, size int64, s *plan.Segment) error {
	ends, err := u.archive.readEnds(ctx, u.replica.ID, step.Segment, size)
	if err != nil && !isBad(err) {
		u.archive.health.did(err)
		return err
	}
	u.planned(func(l *plan.Log) { l.Found(time.Now(), step, size) })
	u.archive.catalogue.setSealed(u.replica.ID, step.Segment, ends, err)
	u.archive.catalogue.publish(u.replica.ID)
	if s != nil && s.Sealed && s.Size == size {
		u.compare(s, ends, err)
	}
	return nil
}

// compare compares the footer of a sealed segment in the bucket with that on the disk: its
// checksum stands for all before it.
func (u *uploader) compare(s *plan.Segment, ends seglog.Ends, bad error) {
	f, err := u.replica.Log.OpenFile(s.Name)
	if err != nil {
		return // It has gone from the disk.
	}
	defer f.Close()
	here, err := fileEnds(f, s)
	if err == nil && (bad != nil || here.Checksum != ends.Checksum) {
		u.diverge(fmt.Errorf("segment %s has other blocks in the bucket", s.Name))
	}
}

func (u *uploader) diverge(why error) {
	u.planned(func(l *plan.Log) { l.Diverge(why.Error()) })
}

// fileEnds is what the footer of a segment on the disk says.
func fileEnds(f io.ReaderAt, s *plan.Segment) (seglog.Ends, error) {
	var b [segment.FrameHeaderSize]byte
	if _, err := f.ReadAt(b[:], s.Size-segment.FrameHeaderSize); err != nil {
		return seglog.Ends{}, err
	}
	return seglog.ReadEnds(s.Name, b[:], s.Size)
}

// reach returns the last block of a segment on the disk up to an offset, which has to be
// the end of a frame.
func (u *uploader) reach(s *plan.Segment, end int64) (uint64, error) {
	from := u.reached[s.Name]
	if from.end == end {
		return from.last, nil
	}
	if from.end == 0 || from.end > end {
		from = reached{segment.HeaderSize, s.First - 1}
	}
	f, err := u.replica.Log.OpenFile(s.Name)
	if err != nil {
		return from.last, nil // It has gone from the disk.
	}
	defer f.Close()
	frames := segment.NewFrameReader(f, from.end)
	for frames.Offset() < end {
		h, err := frames.Skip(end)
		if err != nil {
			return from.last, err
		}
		if h.Kind == segment.KindBlock {
			from.last = h.Sequence
		}
	}
	from.end = end
	u.reached[s.Name] = from
	return from.last, nil
}

// remove deletes a piece.
func (u *uploader) remove(step plan.Step) error {
	a := u.archive
	ctx, cancel := within(u.ctx, 0)
	defer cancel()
	a.metrics.requests.WithLabelValues("delete").Inc()
	if err := a.bucket.Delete(ctx, u.object(step).Name()); !a.health.did(err) {
		return err
	}
	u.planned(func(l *plan.Log) { l.Deleted(step) })
	a.catalogue.dropPiece(u.replica.ID, step.Segment, step.Offset)
	return nil
}

// create creates an object of what is on the disk, unless its bytes are damaged there or
// do not continue what is in the bucket.
func (u *uploader) create(step plan.Step, local []plan.Segment) error {
	s := find(local, step.Segment)
	f, err := u.replica.Log.OpenFile(step.Segment)
	if err != nil {
		return err // It has gone from the disk.
	}
	defer f.Close()
	select {
	case u.archive.uploads <- struct{}{}:
		defer func() { <-u.archive.uploads }()
	case <-u.ctx.Done():
		return context.Cause(u.ctx)
	}
	if err := u.mayFollow(step, f); err != nil {
		return err
	}
	if err := verify(f, step.Offset, step.Offset+step.Size); err != nil {
		u.bad[step.Segment] = true
		u.archive.metrics.damaged.Inc()
		u.archive.logger.Error("a segment on the disk is damaged, and not uploaded", "log_id", u.replica.ID.String(), "segment", step.Segment, "err", err)
		return nil
	}
	if err := u.put(step, io.NewSectionReader(f, step.Offset, step.Size)); err != nil {
		return err
	}
	if !step.Piece {
		ends, err := fileEnds(f, s)
		u.archive.catalogue.setSealed(u.replica.ID, step.Segment, ends, err)
		u.archive.catalogue.publish(u.replica.ID)
		u.archive.metrics.segments.Inc()
		return nil
	}
	u.archive.catalogue.addPiece(u.replica.ID, step.Segment, layout.Piece{Offset: step.Offset, Size: step.Size})
	return nil
}

// put creates an object, and tells the plan what came of it. The error says that it was
// not created by this call, as far as is known.
func (u *uploader) put(step plan.Step, content io.ReaderAt) error {
	a := u.archive
	ctx, cancel := within(u.ctx, step.Size)
	defer cancel()
	a.metrics.requests.WithLabelValues("create").Inc()
	err := a.bucket.Create(ctx, u.object(step).Name(), content, step.Size)
	switch {
	case errors.Is(err, bucket.ErrExists):
		a.health.did(nil)
		u.planned(func(l *plan.Log) { l.Exists(time.Now(), step) })
	case a.health.did(err):
		a.metrics.uploaded.Add(float64(step.Size))
		u.planned(func(l *plan.Log) { l.Created(time.Now(), step) })
	default:
		u.planned(func(l *plan.Log) { l.Failed(step) })
	}
	return err
}

// sampleBytes of a piece are compared before something is put behind it: the header of its
// first frame has a checksum that stands for all before it.
const sampleBytes = segment.HeaderSize + segment.FrameHeaderSize

// mayFollow compares the last piece in the bucket, if somebody else made it, with what is
// on the disk.
func (u *uploader) mayFollow(step plan.Step, f io.ReaderAt) error {
	if !step.Check || step.Offset == 0 {
		return nil
	}
	var last layout.Piece
	u.planned(func(l *plan.Log) { last = l.LastPiece(step.Segment) })
	n := min(last.Size, sampleBytes)
	there, err := u.archive.get(u.ctx, layout.Object{Log: u.replica.ID, Segment: step.Segment, Piece: true, Offset: last.Offset}.Name(), 0, n)
	if err != nil {
		if errors.Is(err, bucket.ErrNotFound) { // The sealed segment has come.
			u.planned(func(l *plan.Log) { l.Gone(step.Segment) })
		}
		u.archive.health.did(err)
		return err
	}
	here := make([]byte, n)
	if _, err := f.ReadAt(here, last.Offset); err != nil {
		return err
	}
	if !bytes.Equal(here, there) {
		why := fmt.Errorf("segment %s has other bytes from %d on in the bucket", step.Segment, last.Offset)
		u.diverge(why)
		return why
	}
	return nil
}

// verify reads frames, and compares their checksums.
func verify(f io.ReaderAt, from, to int64) error {
	frames := segment.NewFrameReader(f, max(from, segment.HeaderSize))
	for frames.Offset() < to {
		if _, _, err := frames.Next(to); err != nil {
			return fmt.Errorf("at offset %d: %w", frames.Offset(), err)
		}
	}
	return nil
}

// report says how far the log has come in the bucket.
func (u *uploader) report(local []plan.Segment) {
	u.reportChain(local)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pending = u.plan.Pending(local)
	u.replica.SetArchived(u.plan.Archived(local, func(s plan.Segment, end int64) uint64 {
		last, _ := u.reach(&s, min(end, s.Size))
		return last
	}))
}

// reportChain says that the pieces of the last segment are all of it, of a log that nobody
// feeds: it may be retired then.
func (u *uploader) reportChain(local []plan.Segment) {
	if len(local) == 0 || u.replica.Connected() {
		return
	}
	s := local[len(local)-1]
	var end int64
	u.planned(func(l *plan.Log) {
		if held, whole := l.Held(s); whole {
			end = held
		}
	})
	if s.Sealed || end != s.Size || s.Last < s.First {
		return
	}
	log := u.replica.Log
	sum, ok, err := log.Checksum(u.ctx, s.Last)
	newest, there := log.Newest()
	if err != nil || !ok || !there || newest.Name != s.Name || newest.Size != s.Size {
		return
	}
	if u.archive.catalogue.setChain(u.replica.ID, newest, sum) {
		u.archive.catalogue.publish(u.replica.ID)
	}
}

// tellPlans tells all plans what a list has said.
func (a *Archive) tellPlans() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, u := range a.uploader {
		u.planned(func(l *plan.Log) { a.catalogue.tell(id, l) })
	}
}

// gone tells the plan of a log that others have deleted a segment.
func (a *Archive) gone(id segment.LogID, name string) {
	a.mu.Lock()
	u := a.uploader[id]
	a.mu.Unlock()
	if u != nil {
		u.planned(func(l *plan.Log) { l.Gone(name) })
	}
}
