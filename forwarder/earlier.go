package forwarder

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// A request of which limits refused a part is processed once more when it comes again
// under other limits. What fits by then goes into a block of its own, whose digest
// follows from the one before: so a repeat is recognised after a restart, and by
// servers, whatever the limits were in between. What earlier blocks hold of the request
// is read from the log, and left out.

// fingerprint stands for the limits under which parts of a request may be refused.
// It is not 0.
func (c *LimitConfig) fingerprint() uint32 {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%d %d %d %d %d %+v", c.MaxSeries, c.MaxClusters, c.MaxFamilies, c.MetadataBytes, c.Future, c.Limits) // is never refused
	return max(h.Sum32(), 1)
}

// again is the digest of what a request brings under other limits.
func (d digest) again() digest {
	sum := sha256.Sum256(append([]byte("again"), d[:]...))
	return digest(sum[:len(d)])
}

// history is what is known of a request that comes again.
type history struct {
	steps []windowEntry // under one limits after another, none if it is new
	next  digest        // of what it brings now
	final bool          // the last answer holds
}

// last is the answer with everything that was stored of the request.
func (h *history) last() answer { return h.steps[len(h.steps)-1].answer }

// history returns what is known of a request. An answer is final unless limits refused
// a part of it, and the present ones have not been tried.
func (w *repeatWindow) history(d digest, limits uint32) (h history) {
	for h.next = d; ; h.next = h.next.again() {
		known, ok := w.find(h.next)
		if !ok {
			return h
		}
		h.steps = append(h.steps, windowEntry{h.next, known})
		h.final = h.final || known.verdict.Limits == 0 || known.verdict.Limits == limits
	}
}

// earlier is what blocks of the log hold of a request.
type earlier struct {
	from  *state // to which the references belong
	told  segment.Verdict
	parts map[part]struct{}
	refs  []uint64
	// err says why they cannot be read. It is final if gone: they are not kept any more.
	err  error
	gone bool
}

// part is a sample, histogram or exemplar.
type part struct {
	ref       uint64
	timestamp int64  // none of an exemplar
	value     uint64 // bits, or a hash
	kind      partKind
}

type partKind uint8

const (
	floatPart partKind = iota
	histogramPart
	exemplarPart
)

// readEarlier reads the blocks of a request from the log.
func readEarlier(ctx context.Context, s *state, h *history) *earlier {
	e := &earlier{from: s, told: h.last().verdict, parts: map[part]struct{}{}}
	for _, step := range h.steps {
		if e.err = e.read(ctx, s.writer.Log(), step); e.err != nil {
			var outside *seglog.OutOfRangeError
			var gap *seglog.GapError
			var damage *seglog.DamageError
			e.gone = errors.Is(e.err, errNoBlock) || errors.As(e.err, &outside) || errors.As(e.err, &gap) || errors.As(e.err, &damage)
			return e
		}
	}
	slices.Sort(e.refs)
	e.refs = slices.Compact(e.refs)
	return e
}

// errNoBlock says that an answer has no block in the present log.
var errNoBlock = errors.New("the request's block is not in the log")

func (e *earlier) read(ctx context.Context, l *seglog.Log, step windowEntry) error {
	if id := l.ID(); !step.answer.in(&id) || step.answer.sequence == 0 {
		return errNoBlock
	}
	r, err := l.ReadAfter(step.answer.sequence - 1)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // is never refused
	b, err := r.Next(ctx.Err)
	switch {
	case err != nil:
		return err
	case b == nil || b.Digest != step.digest:
		return errNoBlock
	}
	e.addBlock(b)
	return nil
}

// addBlock notes the parts that a block holds.
func (e *earlier) addBlock(b *segment.Block) {
	add := func(p part) {
		e.parts[p] = struct{}{}
		e.refs = append(e.refs, p.ref)
	}
	for x := range b.Samples.All() {
		add(part{x.Ref, x.Timestamp, math.Float64bits(x.Value), floatPart})
	}
	for _, h := range b.Histograms {
		add(part{h.Ref, h.Timestamp, remotewrite.HashBytes(h.Data), histogramPart})
	}
	for _, x := range b.Exemplars {
		add(part{x.Ref, 0, remotewrite.HashBytes(x.Data), exemplarPart})
	}
}

// has says whether a part was stored.
func (e *earlier) has(p part) bool {
	_, ok := e.parts[p]
	return ok
}

// stale says whether a series was dropped since. If it came back it has another
// reference, by which its earlier parts are not found.
func (e *earlier) stale(s *state) bool {
	return slices.ContainsFunc(e.refs, func(ref uint64) bool {
		_, ok := s.head.Latest(ref)
		return !ok
	})
}

// addTo turns the verdict on what is stored now into one on all that is stored.
func (e *earlier) addTo(v *segment.Verdict) {
	rejected := max(0, int64(e.told.Rejected)-int64(v.Samples)-int64(v.Histograms)-int64(v.Exemplars))
	v.Samples += e.told.Samples
	v.Histograms += e.told.Histograms
	v.Exemplars += e.told.Exemplars
	if v.Rejected = uint32(rejected); v.Code == uint8(linkv1.Code_CODE_OK) {
		v.Rejected = 0
	}
}

// errLookingBack is an answer while the blocks of another request are being read.
var errLookingBack = errors.New("limits were changed since, and what the log holds of another such request is being read")

// lookBack starts to read the blocks of a request. That takes as long as decoding their
// segments up to them; meanwhile others are appended. It returns false if the blocks of
// another request are being read.
func (a *appender) lookBack(j *job, h history) bool {
	if a.looking {
		return false
	}
	a.looking = true
	a.in.metrics.reread.Inc()
	a.in.answers.forgo() // Nobody is to wait for it.
	go func() {
		j.earlier = readEarlier(a.lookingCtx, j.from, &h)
		a.looked <- j
	}()
	return true
}

// resume handles a batch whose earlier blocks have been read.
func (a *appender) resume(j *job) {
	a.looking = false
	a.in.answers.expect()
	a.handle(j)
}

// repeatAnswer gives the last answer once more. From now on it is that under the
// present limits, too.
func (a *appender) repeatAnswer(j *job, h history) {
	a.in.metrics.repeated.Inc()
	j.answer = h.last()
	j.answer.verdict.Limits = a.limits
	j.from.window.add(h.next, j.answer)
}
