package merge

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/server/router/raw"
)

// part is what a call gets of one group. Its goroutine keeps a stream of one of the group's
// servers open, and gathers what comes until the call takes it: so much, and no more.
type part struct {
	group   Group
	request *metricsv1.GetMetricsRequest // but for where it starts
	numbers *numbers                     // nil: no references
	moved   *moved                       // nil: no series has moved
	wake    func()                       // the call, as there is something for it
	report  func(err error)              // why a stream broke off

	cancel context.CancelFunc
	done   chan struct{} // nil: the goroutine was not started

	// Of the call.
	place   []cursor.Position // that what was taken has come to
	placed  bool              // there is a place
	synced  bool
	ended   bool
	leaving bool // the group is not in the list any more: what it has is read to its end

	// Of the goroutine, and of the call while that does not run.
	at    string // the cursor to go on at, "": the request starts at the latest samples
	loose bool   // series have come that no cursor covers, so that it cannot go on
	body  []byte

	mu     sync.Mutex
	in     pending
	room   chan struct{} // has an element when the call has taken what there was
	served bool          // a stream is open, of which something came
	tries  int           // that failed since
	lost   time.Time     // since when none is
	failed error         // what the client has to be told
	parked bool          // there is no number left for another stream
	held   int64         // bytes that the goroutine has
	full   bool          // it waits for room, and what the server sends waits behind it
}

func newPart(g Group) *part {
	return &part{group: g, in: newPending(), room: make(chan struct{}, 1), lost: time.Now()}
}

// start starts the goroutine.
func (p *part) start(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(ctx)
	p.done = make(chan struct{})
	go p.run(ctx)
}

// stop ends the goroutine, and says whether it was started. What came and was not taken stays.
func (p *part) stop() (started bool) {
	if p.done == nil {
		return false
	}
	p.cancel()
	<-p.done
	p.done = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parked = false
	return true
}

// The pauses between attempts to open a stream.
const (
	leastPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// run opens one stream after the other until one has come to its end.
func (p *part) run(ctx context.Context) {
	defer close(p.done)
	if !p.awaitEarlier(ctx) {
		return
	}
	failures, outOfRange := 0, 0
	for {
		received, err := p.stream(ctx)
		if received {
			failures, outOfRange = 0, 0
		}
		if ctx.Err() != nil || errors.Is(err, errEnded) {
			return
		}
		p.closed()
		kind := kindOf(err)
		if kind == tooOld {
			if outOfRange++; outOfRange >= p.group.Servers() {
				kind = final
			}
		}
		switch {
		case p.loose || kind == final:
			p.fail(err)
			return
		case kind == noNumber:
			p.park()
			return
		case kind == moves && received:
			continue
		}
		p.report(err)
		if failures++; failures > 1 || !received {
			if !p.pause(ctx, failures-1) {
				return
			}
		}
	}
}

// awaitEarlier waits for the snapshots that come before that of this group.
func (p *part) awaitEarlier(ctx context.Context) bool {
	if p.moved == nil || p.at != "" {
		return true
	}
	for _, over := range p.moved.earlier(p.group.Name()) {
		select {
		case <-over:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// pause waits until a stream may be opened again.
func (p *part) pause(ctx context.Context, failures int) bool {
	return backoff.Sleep(ctx, backoff.Pause(leastPause, longestPause, failures)) == nil
}

// What ends a stream of one server.
var (
	errEnded    = errors.New("the stream has come to its end")
	errNoEnd    = errors.New("the server closed the stream before its end")
	errSilent   = errors.New("the server sends no heartbeats")
	errForgets  = errors.New("the server's references begin anew")
	errNoNumber = errors.New("there are no more numbers of streams")
)

// stream opens a stream and takes what comes until it ends. It says whether anything came.
func (p *part) stream(ctx context.Context) (received bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := p.next()
	if err != nil {
		return false, err
	}
	s, err := p.group.Open(ctx, metricsv1connect.MetricsServiceGetMetricsProcedure, request)
	if err != nil {
		return false, err
	}
	defer s.Close()
	patience := p.patience()
	silence := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer silence.Stop()
	if !request.GetFollow() {
		silence.Stop()
	}
	for {
		p.body, err = s.Receive(p.body)
		if errors.Is(context.Cause(ctx), errSilent) {
			return received, errSilent
		}
		if errors.Is(err, io.EOF) {
			return received, errNoEnd
		}
		if err != nil {
			return received, err
		}
		silence.Stop()
		if err := p.accept(ctx, p.body, !received); err != nil {
			return received, err
		}
		received = true
		if request.GetFollow() {
			silence.Reset(patience)
		}
	}
}

// next is the request for what comes next.
func (p *part) next() (*metricsv1.GetMetricsRequest, error) {
	request := proto.CloneOf(p.request)
	if p.at != "" {
		request.Start = &metricsv1.GetMetricsRequest_Cursor{Cursor: p.at}
	}
	if p.leaving {
		request.Follow, request.MinInterval, request.HeartbeatInterval = false, nil, nil
	}
	if p.numbers != nil {
		stride, number, ok := p.numbers.next()
		if !ok {
			return nil, errNoNumber
		}
		request.LabelReferences, request.ReferenceStride, request.ReferencePart = true, stride, number
	}
	return request, nil
}

// heartbeat that the servers send: as often as the client wants to know, or has to be sure
// that they live.
const heartbeat = 10 * time.Second

// missedHeartbeats is after how many a server is taken for dead, but not sooner than
// leastPatience, as it may be busy.
const (
	missedHeartbeats = 3
	leastPatience    = 10 * time.Second
)

func (p *part) patience() time.Duration {
	return max(missedHeartbeats*p.request.GetHeartbeatInterval().AsDuration(), leastPatience)
}

// heartbeatOf is what a client's interval is at the servers.
func heartbeatOf(client time.Duration) *durationpb.Duration {
	return durationpb.New(min(client, heartbeat))
}

// accept keeps a response until the call takes it, once there is room.
func (p *part) accept(ctx context.Context, message []byte, first bool) error {
	r, err := parse(message)
	if err != nil {
		return err
	}
	if r.forget && !first {
		return errForgets
	}
	if p.moved != nil {
		if r.series, err = p.moved.filter(p.group.Name(), r); err != nil {
			return err
		}
	}
	if err := p.await(ctx, len(r.series)); err != nil {
		return err
	}
	defer p.mu.Unlock()
	p.in.add(r)
	if len(r.cursor) > 0 {
		p.at, p.loose = p.in.cursor, false
	} else if len(r.series) > 0 {
		p.loose = true
	}
	p.served, p.tries, p.held = true, 0, int64(cap(p.body))
	if p.in.urgent() {
		p.wake()
	}
	if r.event == fieldEnd {
		return errEnded
	}
	return nil
}

// await waits until there is room for series. It returns with the lock held.
func (p *part) await(ctx context.Context, series int) error {
	for {
		p.mu.Lock()
		p.full = !p.in.fits(series)
		if !p.full {
			return nil
		}
		p.held = int64(cap(p.body))
		p.mu.Unlock()
		select {
		case <-p.room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// closed is called after a stream that ended before its end.
func (p *part) closed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = false
	if p.served {
		p.served, p.lost = false, time.Now()
	}
	p.tries++
	p.wake()
}

func (p *part) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = err
	p.wake()
}

func (p *part) park() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parked = true
	p.wake()
}

// take moves what came to the response that is being made, and says whether there was
// anything for the client. Where there is no room it stays.
func (p *part) take(out *joined) (took bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !out.join(&p.in) {
		return false, nil
	}
	took = p.in.urgent()
	if len(p.in.cursor) > 0 {
		if p.place, err = placeOf(p.in.cursor); err != nil {
			return false, err
		}
		p.placed = true
	}
	p.synced = p.synced || p.in.synced
	p.ended = p.ended || p.in.ended
	p.in.reset()
	select {
	case p.room <- struct{}{}:
	default:
	}
	return took, nil
}

// away says whether the group is away for the call: nothing comes of it, since none of its
// servers answers, or none has let a stream be opened for so long.
func (p *part) away(after time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.served || p.in.ended || p.ended || p.leaving {
		return false
	}
	return p.group.Away() || p.tries > 0 && time.Since(p.lost) >= after
}

// waits says whether there is no stream for now.
func (p *part) waits() bool { return p.lostFor(0) }

// lostFor says whether there has been no stream for so long.
func (p *part) lostFor(d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.served && !p.in.ended && !p.ended && time.Since(p.lost) >= d
}

// trouble is what the call has to see to: that there is no number for another stream, or
// what the client has to be told once it has what came before.
func (p *part) trouble() (parked bool, failed error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.in.urgent() {
		return false, nil
	}
	return p.parked, p.failed
}

func (p *part) bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.in.bytes() + p.held
	if p.full {
		n += raw.Window
	}
	return n
}
