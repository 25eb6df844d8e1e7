package forwarder

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// appender owns the state of the log. All of it runs in one goroutine, but for
// log and failed.
type appender struct {
	in                 *ingest
	store              logStore
	idle               time.Duration
	ticks              ticks
	series             int           // most at a time
	families, metadata int           // the limits of metadata, in number and bytes
	future             time.Duration // that a sample may be ahead, 0 is without bound
	limits             uint32        // fingerprint of all of them
	now                func() time.Time
	logger             *slog.Logger

	pairs     *pairs // nil: nobody is elected
	placed    *placed
	greetings chan *greeting
	ended     *endedLogs
	state     *state // nil while the log cannot be written
	cause     error  // why it cannot
	renewed   time.Time
	// doubt is how long from then not even a server that proved its role is believed.
	doubt time.Duration
	// doubting says that a server was not believed since then.
	doubting bool

	broken   chan brokenState
	diverged chan *divergence
	reopened chan *state
	stop     chan struct{} // ends the reopening
	opening  sync.WaitGroup

	looking    bool      // what is stored of a batch is being read
	looked     chan *job // by which that batch comes back
	lookingCtx context.Context
	endLooking context.CancelFunc

	mu      sync.Mutex
	current *seglog.Log
	changed broadcast.Signal // wakes who waits for another current one
}

type brokenState struct {
	state *state
	err   error
}

func newAppender(in *ingest, store logStore, o Config, logger *slog.Logger) (*appender, error) {
	a := &appender{
		in:        in,
		store:     store,
		idle:      o.SeriesIdle,
		ticks:     newTicks(o.Tick),
		series:    o.MaxSeries,
		families:  o.MaxFamilies,
		metadata:  int(o.MetadataBytes),
		future:    o.Future,
		limits:    o.fingerprint(),
		now:       time.Now,
		logger:    logger,
		pairs:     newPairs(&o, in.metrics, logger),
		placed:    newPlaced(in.metrics, logger),
		greetings: make(chan *greeting),
		ended:     newEndedLogs(logger),
		broken:    make(chan brokenState, 1),
		diverged:  make(chan *divergence, 1),
		reopened:  make(chan *state),
		stop:      make(chan struct{}),
		looked:    make(chan *job, 1),
	}
	a.lookingCtx, a.endLooking = context.WithCancel(context.Background())
	s, err := openState(store, a.ended)
	if err != nil {
		return nil, errors.Join(err, a.ended.close())
	}
	a.use(s)
	return a, nil
}

// use makes a state the current one, under the present limits.
func (a *appender) use(s *state) {
	a.state, a.cause = s, nil
	s.maxSeries, s.limits = a.series, a.limits
	s.families.max, s.families.maxBytes = a.families, a.metadata
	s.pairs = a.pairs
	s.pairs.opened(a.now(), s)
	if s.writer.Renewed() != nil {
		a.in.metrics.renewed.Inc()
	}
	a.in.metrics.writable.Set(1)
	a.in.metrics.series.Set(float64(s.head.Len()))
	a.publish(s.writer.Log())
	a.opened(s)
	a.logger.Info("log opened", "log_id", s.writer.Log().ID().String(), "last_sequence", s.last, "series", s.head.Len())
}

func (a *appender) publish(l *seglog.Log) {
	if c := a.in.confirming; c != nil && l != nil {
		c.use(l.ID())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current = l
	a.changed.Wake()
}

// log returns the log that is being written, nil while there is none, and a channel
// that is closed when another one is.
func (a *appender) log() (*seglog.Log, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current, a.changed.Next()
}

var errBroken = errors.New("the log cannot be written")

// failed reports that the writer of a state has failed.
func (a *appender) failed(s *state, err error) {
	select {
	case a.broken <- brokenState{s, err}:
	default: // one report is enough
	}
}

// run appends until there is nothing more to come.
func (a *appender) run() {
	defer a.in.answers.end()
	defer a.ticks.stop()
	batches, news := a.in.append, a.news()
	for batches != nil || a.looking {
		select {
		case <-a.ticks.due:
			a.tick()
		case <-news.channel():
			a.pairs.learn(a.now())
		case g := <-a.greetings:
			a.meet(g)
		case j, ok := <-batches:
			if !ok {
				batches = nil
				a.endLooking()
				continue
			}
			a.handle(j)
		case j := <-a.looked:
			a.resume(j)
		case b := <-a.broken:
			a.fail(b.state, b.err)
		case d := <-a.diverged:
			a.renew(d)
		case s := <-a.reopened:
			a.in.metrics.reopened.Inc()
			a.use(s)
		}
	}
}

// handle appends one batch, unless it was refused, and passes it on. One of which
// earlier blocks have to be read first comes back by resume.
func (a *appender) handle(j *job) {
	if j.verdict == nil {
		if a.recognise(j) {
			return
		}
		a.in.release(j)
	}
	a.in.answers.add(j)
}

// recognise appends a batch unless it is a repeat, and notes what to answer. It returns
// true if its earlier blocks are being read first.
func (a *appender) recognise(j *job) bool {
	s := a.state
	if s == nil {
		j.verdict = unavailable(a.cause)
		return false
	}
	if a.placed.outdated(j) {
		j.verdict = unavailable(errOutdated)
		return false
	}
	j.from = s
	h := s.window.history(j.digest, a.limits)
	switch e := j.earlier; {
	case h.final:
		a.in.metrics.repeated.Inc()
		j.answer = h.last()
	case len(h.steps) == 0:
		a.append(j, h)
	case e == nil:
		if a.lookBack(j, h) {
			return true
		}
		j.verdict = unavailable(errLookingBack)
	case e.gone && e.from == s:
		a.logger.Debug("what is stored of a request cannot be read any more, its answer stands", "err", e.err)
		a.repeatAnswer(j, h)
	case e.err != nil:
		j.verdict = unavailable(e.err)
	case e.from != s:
		j.verdict = unavailable(errBroken)
	default:
		a.append(j, h)
	}
	return false
}

// append appends what is not known yet of a batch.
func (a *appender) append(j *job, h history) {
	s := a.state
	now, last := a.now(), s.last
	err := s.rotate(now, a.idle)
	if err == nil && j.earlier != nil && j.earlier.stale(s) {
		a.repeatAnswer(j, h)
		return
	}
	if err == nil && !a.pairs.decide(now, j.batch.GetTenant().GetValue(), j.req) {
		j.verdict = undecided()
		for a.state == s && a.pairs.table.Claimed() { // Others have to come to know it.
			_ = a.appendEmpty(s, now, segment.Placement{}) // If it fails, the loop ends.
		}
		return
	}
	var t tally
	if err == nil {
		a.refuseFuture(j, now)
		s.earlier = j.earlier
		j.answer, t, err = s.apply(j.req, h.next, now)
		s.earlier = nil
	}
	switch {
	case errors.Is(err, remotewrite.ErrTooLarge):
		a.logger.Error("a request that was let in has no room in a block", "err", err)
		j.verdict = a.in.refused(err)
	case err != nil:
		a.fail(s, err)
		j.verdict = unavailable(a.cause)
	default:
		a.count(t, &j.req.Problems)
		if s.last > last {
			a.ticks.appended(now)
			j.appended = now
		}
	}
}

// count adds what became of a batch to the metrics.
func (a *appender) count(t tally, p *remotewrite.Problems) {
	m := a.in.metrics
	m.samples.Add(float64(t.samples))
	m.histograms.Add(float64(t.histograms))
	m.exemplars.Add(float64(t.exemplars))
	m.rejected.Add(float64(p.Rejected))
	m.repeats.Add(float64(t.repeats))
	for name, n := range p.OverLimit {
		m.overLimit.WithLabelValues(name).Add(float64(n))
	}
	if t.series > 0 {
		m.created.Add(float64(t.series))
		m.series.Set(float64(a.state.head.Len()))
	}
}

// news are those of elections, nil if nobody is elected.
func (a *appender) news() *news {
	if a.pairs == nil {
		return nil
	}
	return a.pairs.news
}

// refuseFuture drops what is too far ahead of the clock: it would be the latest of
// its series until then.
func (a *appender) refuseFuture(j *job, now time.Time) {
	if a.future == 0 || !j.dated {
		return
	}
	instant := now.Add(a.future).UnixMilli()
	if j.newest <= instant {
		return
	}
	j.req.DropAfter(instant, func(timestamp int64) error {
		return limit.Over(flagFuture, "a sample at %d ms, and the forwarder's clock is at %d, the limit is %s ahead", timestamp, now.UnixMilli(), a.future)
	})
}

// fail gives up a state and starts to open another one.
func (a *appender) fail(s *state, err error) {
	if s != a.state {
		return // it was given up already
	}
	a.state, a.cause = nil, errors.Join(errBroken, err)
	a.in.metrics.writable.Set(0)
	a.publish(nil)
	a.logger.Error("log cannot be written, opening it again", "err", err)
	a.opening.Go(func() { a.reopen(s) })
}

const (
	reopenMin = 100 * time.Millisecond
	reopenMax = 10 * time.Second
)

// reopen closes the writer of a state and rebuilds the state from disk. What was not
// durable is lost then, and was never acknowledged.
func (a *appender) reopen(old *state) {
	if err := old.writer.Close(); err != nil && !errors.Is(err, seglog.ErrBroken) {
		a.logger.Warn("close log", "err", err)
	}
	for failures := 0; ; failures++ {
		s, err := openState(a.store, a.ended)
		if err == nil {
			select {
			case a.reopened <- s:
			case <-a.stop:
				_ = s.writer.Close()
			}
			return
		}
		pause := backoff.Pause(reopenMin, reopenMax, failures)
		a.logger.Error("log cannot be opened", "err", err, "retry_in", pause)
		select {
		case <-time.After(pause):
		case <-a.stop:
			return
		}
	}
}

// close ends the reopening and closes the log. After run.
func (a *appender) close() error {
	close(a.stop)
	a.endLooking()
	a.opening.Wait()
	err := a.ended.close()
	if a.state != nil {
		err = errors.Join(err, a.state.writer.Close())
	}
	return err
}

// ready says whether the log can be written.
func (a *appender) ready() error {
	if l, _ := a.log(); l == nil {
		return errBroken
	}
	return nil
}
