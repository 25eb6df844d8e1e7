package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/archive/plan"
)

// catalogue is what is known of the bucket: from lists, from what was looked at and what
// was created, and from the footers of sealed segments.
type catalogue struct {
	archive *Archive
	file    string // in which it is kept, "" for none
	loaded  bool   // the file was there

	mu     sync.Mutex
	listed time.Time // when the last list began that succeeded, zero: none has
	// asked is when a list of a log alone began that succeeded.
	asked map[segment.LogID]time.Time
	logs  map[segment.LogID]map[string]*entry
}

// entry is a segment in the bucket.
type entry struct {
	info     seglog.RemoteInfo // of a chain of pieces as far as it was read: see chain
	sealed   bool
	pieces   []layout.Piece // of what is not sealed; and those that are left of what is
	written  time.Time      // when its last frame was written, by the clock of its forwarder
	modified time.Time      // of its newest object, by the clock of the bucket; zero: not listed yet
	read     int64          // of a chain: up to where its frames were looked at
	bad      bool           // it is no segment, or damaged
	broken   bool           // of a chain: what comes after read is damaged
	refused  bool           // its footer was not given out, and that was said
	absent   int            // lists in a row that did not have it
	leftover int            // lists in a row that had pieces beside the sealed segment
}

// size in the bucket, of all objects.
func (e *entry) size() int64 {
	var n int64
	if e.sealed {
		n = e.info.Size
	}
	for _, p := range e.pieces {
		n += p.Size
	}
	return n
}

// chainEnd is up to where there are pieces from the beginning.
func (e *entry) chainEnd() int64 {
	chain := layout.Chain(e.pieces)
	if len(chain) == 0 {
		return 0
	}
	last := chain[len(chain)-1]
	return last.Offset + last.Size
}

// readable says whether the segment can be read from the bucket.
func (e *entry) readable() bool { return !e.bad && (e.sealed || e.read > 0) }

func newCatalogue(a *Archive) *catalogue {
	return &catalogue{archive: a, asked: map[segment.LogID]time.Time{}, logs: map[segment.LogID]map[string]*entry{}}
}

func (c *catalogue) isListed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.listed.IsZero()
}

// Asked is when the bucket was asked last what it has of a log, zero if it was not, did not
// say where the log ends, or has more of it than this server has taken by now.
func (a *Archive) Asked(id segment.LogID) time.Time {
	var last uint64
	if r := a.replicas.Get(id); r != nil {
		last = r.Log.Last()
	}
	c := a.catalogue
	c.mu.Lock()
	defer c.mu.Unlock()
	var newest *entry
	for _, e := range c.logs[id] {
		if newest == nil || e.info.FirstSequence > newest.info.FirstSequence {
			newest = e
		}
	}
	if newest != nil && (newest.refused || newest.readable() && newest.info.LastSequence > last) {
		return time.Time{}
	}
	if at := c.asked[id]; at.After(c.listed) {
		return at
	}
	return c.listed
}

// listing is what one list says.
type listing struct {
	began   time.Time
	logs    map[segment.LogID]map[string]*entry
	lease   uint64 // the newest
	leases  []uint64
	newest  time.Time // when the newest object of ours came, by the clock of the bucket
	foreign int
	example string
}

// list lists the objects whose names begin with a prefix.
func (a *Archive) list(ctx context.Context, prefix string) (*listing, error) {
	l := &listing{began: time.Now(), logs: map[segment.LogID]map[string]*entry{}}
	objects := 0
	for object, err := range a.bucket.List(ctx, prefix) {
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		l.add(object)
		objects++
	}
	a.metrics.requests.WithLabelValues("list").Add(float64(1 + objects/listPage))
	return l, nil
}

// listPage is how many objects a page of a list has, with all providers.
const listPage = 1000

// add takes one object.
func (l *listing) add(object bucket.Object) {
	o, ok := layout.ParseName(object.Name)
	n, lease := layout.ParseLease(object.Name)
	if !ok && !lease {
		l.foreign++
		l.example = object.Name
		return
	}
	if l.newest.Before(object.Modified) {
		l.newest = object.Modified
	}
	if lease {
		l.lease = max(l.lease, n)
		l.leases = append(l.leases, n)
		return
	}
	segments := l.logs[o.Log]
	if segments == nil {
		segments = map[string]*entry{}
		l.logs[o.Log] = segments
	}
	e := segments[o.Segment]
	if e == nil {
		e = newEntry(o.Segment)
		segments[o.Segment] = e
	}
	if e.modified.Before(object.Modified) {
		e.modified = object.Modified
	}
	if o.Piece {
		e.pieces = append(e.pieces, layout.Piece{Offset: o.Offset, Size: object.Size})
	} else {
		e.sealed, e.info.Size = true, object.Size
	}
}

func newEntry(name string) *entry {
	first, _ := seglog.FirstSequence(name)
	return &entry{info: seglog.RemoteInfo{
		Name: name, FirstSequence: first, LastSequence: first - 1, CreateTime: seglog.NameTime(name), MinTime: math.MaxInt64, MaxTime: math.MinInt64,
	}}
}

// refresh lists the bucket, and reads what is not known of what is there.
func (c *catalogue) refresh(ctx context.Context) (*listing, error) {
	a := c.archive
	l, err := a.list(ctx, "")
	if !a.health.did(err) {
		return nil, err
	}
	a.strangers.tell(a, l)
	c.merge(l)
	if err := a.learnLease(ctx, l); err != nil {
		return nil, err
	}
	if err := c.readFooters(ctx); err != nil {
		a.health.did(err)
		return nil, err
	}
	c.mu.Lock()
	first := c.listed.IsZero()
	c.listed = l.began
	maps.DeleteFunc(c.asked, func(_ segment.LogID, at time.Time) bool { return !at.After(l.began) })
	c.mu.Unlock()
	if !first { // What is on no disk here is known only once the server was filled.
		c.readChains(ctx)
	}
	a.tellPlans()
	c.publishAll()
	if a.replicas != nil {
		a.replicas.SetListed(true)
	}
	if err := c.save(); err != nil {
		a.logger.Warn("what is known of the bucket cannot be written, and is found out again after a restart", "err", err)
	}
	return l, nil
}

// refreshLog lists one log, and reads what is not known of it.
func (c *catalogue) refreshLog(ctx context.Context, id segment.LogID) error {
	a := c.archive
	l, err := a.list(ctx, id.String()+"/")
	if !a.health.did(err) {
		return err
	}
	c.mu.Lock()
	for name, listed := range l.logs[id] {
		c.mergeSegment(id, name, listed)
	}
	c.mu.Unlock()
	if err := c.readFooters(ctx); err != nil {
		a.health.did(err)
		return err
	}
	c.mu.Lock()
	c.asked[id] = l.began
	c.mu.Unlock()
	a.tellPlans()
	c.publish(id)
	return nil
}

// segments are those of a log, by their names. The caller holds mu.
func (c *catalogue) segments(id segment.LogID) map[string]*entry {
	segments := c.logs[id]
	if segments == nil {
		segments = map[string]*entry{}
		c.logs[id] = segments
	}
	return segments
}

// entry is that of a segment, an empty one if nothing was known of it. The caller holds mu.
func (c *catalogue) entry(id segment.LogID, name string) *entry {
	segments := c.segments(id)
	e := segments[name]
	if e == nil {
		e = newEntry(name)
		segments[name] = e
	}
	return e
}

// mergeSegment takes what a list says of a segment. The caller holds mu.
func (c *catalogue) mergeSegment(id segment.LogID, name string, listed *entry) {
	known := c.segments(id)
	slices.SortFunc(listed.pieces, func(a, b layout.Piece) int { return cmp.Compare(a.Offset, b.Offset) })
	if e := known[name]; e != nil {
		e.listedAs(listed)
	} else {
		known[name] = listed
	}
}

// merge takes what a list says. It may lag: what is missing in one list alone stays.
func (c *catalogue) merge(l *listing) {
	gone := c.mergeLogs(l)
	for _, g := range gone {
		c.archive.gone(g.Log, g.Segment)
		c.publish(g.Log)
	}
}

// mergeLogs returns what has gone.
func (c *catalogue) mergeLogs(l *listing) (gone []layout.Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, segments := range l.logs {
		for name, listed := range segments {
			c.mergeSegment(id, name, listed)
		}
	}
	for id, known := range c.logs {
		for name, e := range known {
			if l.logs[id][name] != nil {
				continue
			}
			if e.absent++; e.absent > 1 {
				delete(known, name)
				gone = append(gone, layout.Object{Log: id, Segment: name})
			}
		}
		if len(known) == 0 {
			delete(c.logs, id)
		}
	}
	return gone
}

// listedAs takes what a list says of a segment that is known.
func (e *entry) listedAs(listed *entry) {
	e.absent = 0
	e.modified = listed.modified
	if listed.sealed && (!e.sealed || e.info.Size != listed.info.Size) {
		*e = *listed
		return
	}
	if len(listed.pieces) > 0 && (e.sealed || listed.chainEnd() >= e.chainEnd()) {
		e.pieces = listed.pieces
	} else if e.sealed {
		e.pieces = nil
	}
	if e.leftover++; !listed.sealed || len(listed.pieces) == 0 {
		e.leftover = 0
	}
}

// readFooters reads the footers of the sealed segments of which they are not known.
func (c *catalogue) readFooters(ctx context.Context) error {
	type missing struct {
		id   segment.LogID
		name string
		size int64
	}
	var todo []missing
	c.mu.Lock()
	for id, segments := range c.logs {
		for name, e := range segments {
			if e.sealed && !e.bad && e.written.IsZero() {
				todo = append(todo, missing{id, name, e.info.Size})
			}
		}
	}
	c.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(footersAtOnce)
	for _, m := range todo {
		group.Go(func() error {
			ends, err := c.archive.readEnds(ctx, m.id, m.name, m.size)
			switch {
			case errors.Is(err, bucket.ErrNotFound):
			case errors.Is(err, bucket.ErrRefused):
				c.setRefused(m.id, m.name, err)
			case err != nil && !isBad(err):
				return err
			default:
				c.setSealed(m.id, m.name, ends, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// footersAtOnce is how many footers are read at a time.
const footersAtOnce = 8

// setRefused takes that the footer of a segment is not given out: providers move objects
// to where reading takes hours. It is not read from the bucket while that is so, and
// everything else goes on.
func (c *catalogue) setRefused(id segment.LogID, name string, err error) {
	c.mu.Lock()
	e := c.logs[id][name]
	said := e == nil || e.refused
	if e != nil {
		e.refused = true
	}
	c.mu.Unlock()
	if !said {
		c.archive.logger.Error("a segment in the bucket cannot be read", "object", layout.Object{Log: id, Segment: name}.Name(), "err", err)
	}
}

// setSealed takes what the ends of a sealed segment say, or that they are bad.
func (c *catalogue) setSealed(id segment.LogID, name string, ends seglog.Ends, bad error) {
	if bad != nil {
		c.archive.logger.Error("an object in the bucket is no segment: it is left alone", "object", layout.Object{Log: id, Segment: name}.Name(), "err", bad)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entry(id, name)
	e.sealed, e.bad, e.refused, e.absent = true, bad != nil, false, 0
	if bad == nil {
		e.info, e.written = ends.RemoteInfo, ends.Written
	}
}

// addPiece takes that a piece is there.
func (c *catalogue) addPiece(id segment.LogID, name string, p layout.Piece) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entry(id, name)
	e.absent = 0
	if e.chainEnd() == p.Offset {
		e.pieces = append(layout.Chain(e.pieces), p)
	}
}

// dropPiece takes that a piece is not there any more.
func (c *catalogue) dropPiece(id segment.LogID, name string, offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.logs[id][name]; e != nil {
		e.pieces = slices.DeleteFunc(slices.Clone(e.pieces), func(p layout.Piece) bool { return p.Offset == offset })
	}
}

// drop takes that a segment is not there any more.
func (c *catalogue) drop(id segment.LogID, name string) {
	c.mu.Lock()
	delete(c.logs[id], name)
	c.mu.Unlock()
	c.archive.gone(id, name)
	c.publish(id)
}

// infos are the segments of a log that can be read from the bucket, sorted. Of two that
// begin at one block the sealed one counts, and then the longer.
func (c *catalogue) infos(id segment.LogID) []seglog.RemoteInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	var readable []*entry
	for _, e := range c.logs[id] {
		if e.readable() && e.info.LastSequence >= e.info.FirstSequence {
			readable = append(readable, e)
		}
	}
	slices.SortFunc(readable, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.info.FirstSequence, b.info.FirstSequence), -cmp.Compare(rank(a), rank(b)), -cmp.Compare(a.info.LastSequence, b.info.LastSequence))
	})
	infos := make([]seglog.RemoteInfo, 0, len(readable))
	for _, e := range readable {
		if n := len(infos); n > 0 && infos[n-1].LastSequence >= e.info.FirstSequence {
			continue
		}
		infos = append(infos, e.info)
	}
	return infos
}

func rank(e *entry) int {
	if e.sealed {
		return 1
	}
	return 0
}

// stored are the segments of a log that a server may be filled with, sorted.
func (c *catalogue) stored(id segment.LogID) []plan.Stored {
	c.mu.Lock()
	defer c.mu.Unlock()
	var stored []plan.Stored
	for _, e := range c.logs[id] {
		s := plan.Stored{Name: e.info.Name, First: e.info.FirstSequence, Last: e.info.LastSequence, Size: e.info.Size}
		if !e.sealed {
			s.Size = e.chainEnd()
		}
		if !e.bad && s.Size > 0 {
			stored = append(stored, s)
		}
	}
	slices.SortFunc(stored, func(a, b plan.Stored) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Name, b.Name)) })
	return stored
}

// tell tells a plan what is known of a log.
func (c *catalogue) tell(id segment.LogID, l *plan.Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, e := range c.logs[id] {
		var sealed int64
		if e.sealed {
			sealed = e.info.Size
		}
		l.Listed(name, sealed, e.pieces)
	}
}

// publish gives a log what the bucket has of it.
func (c *catalogue) publish(id segment.LogID) { c.archive.publish(id, c.infos(id)) }

func (c *catalogue) publishAll() {
	c.mu.Lock()
	ids := make([]segment.LogID, 0, len(c.logs))
	for id := range c.logs {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	for _, id := range ids {
		c.publish(id)
	}
}

func (a *Archive) publish(id segment.LogID, infos []seglog.RemoteInfo) {
	if a.replicas == nil {
		return
	}
	if err := a.replicas.SetRemote(id, infos); err != nil {
		a.logger.Error("open log of the bucket", "log_id", id.String(), "err", err)
	}
}

// isBad says that an error is of what was read, not of reading.
func isBad(err error) bool {
	return errors.Is(err, segment.ErrCorrupt) || errors.Is(err, segment.ErrVersion) || errors.Is(err, segment.ErrShort) || errors.Is(err, segment.ErrTooLarge)
}

// readEnds reads the footer of a sealed segment.
func (a *Archive) readEnds(ctx context.Context, id segment.LogID, name string, size int64) (seglog.Ends, error) {
	if size < segment.HeaderSize+segment.FrameHeaderSize {
		return seglog.Ends{}, fmt.Errorf("%w: %d bytes", segment.ErrCorrupt, size)
	}
	object := layout.Object{Log: id, Segment: name}.Name()
	footer, err := a.get(ctx, object, size-segment.FrameHeaderSize, segment.FrameHeaderSize)
	if err != nil {
		return seglog.Ends{}, err
	}
	return seglog.ReadEnds(name, footer, size)
}

// stat asks for an object.
func (a *Archive) stat(ctx context.Context, object string) (bucket.Object, error) {
	a.metrics.requests.WithLabelValues("stat").Inc()
	return a.bucket.Stat(ctx, object)
}

// get reads a part of an object.
func (a *Archive) get(ctx context.Context, object string, offset, length int64) ([]byte, error) {
	ctx, cancel := within(ctx, length)
	defer cancel()
	a.metrics.requests.WithLabelValues("get").Inc()
	r, err := a.bucket.Open(ctx, object, offset, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, length)
	n, err := io.ReadFull(r, b)
	a.metrics.downloaded.Add(float64(n))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // Nothing came, which is not the end of what is read.
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %d of %d bytes at %d: %w", object, n, length, offset, err)
	}
	return b, nil
}
