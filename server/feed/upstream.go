package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/internal/usage"
)

const (
	upstreamHeartbeat = 5 * time.Second
	// upstreamSilence is how long an upstream may send nothing.
	upstreamSilence = 3 * upstreamHeartbeat
	// upstreamLag is how long an upstream may lag behind this server if there is
	// another one. Then it is avoided for about as long.
	upstreamLag     = 10 * time.Second
	upstreamMinWait = 100 * time.Millisecond
	upstreamMaxWait = 5 * time.Second
	// upstreamRefusedWait is how long a relay waits that no upstream lets read, unless its
	// credential is renewed.
	upstreamRefusedWait = 30 * time.Second
)

// Upstream feeds a relay with the logs of servers or relays, which all hold the same
// ones. It reads from one at a time.
type Upstream struct {
	feed   *Feed
	source discovery.Source
	caller *caller
	logger *slog.Logger

	addresses []string // of all that are known
	current   atomic.Pointer[string]
	refusals  atomic.Int32 // of upstreams that did not let this relay read, in a row
	// lagged is when an upstream was left because it lagged.
	lagged map[string]time.Time
}

// NewUpstream returns what feeds a relay from servers, in [discovery.Syntax], which it
// calls as flags say. What has not the role of a server is none, if roles name any.
func NewUpstream(f *Feed, servers string, flags credential.Flags, roles link.Roles, logger *slog.Logger) (*Upstream, error) {
	source, err := discovery.Parse(servers, discovery.Options{Logger: logger})
	if err != nil {
		return nil, usage.Errorf("--upstream: %w", err)
	}
	caller, err := newCaller(flags, roles, logger)
	if err != nil {
		return nil, err
	}
	if err := caller.MayCallAll(servers); err != nil {
		return nil, usage.Errorf("--upstream: %w", err)
	}
	return &Upstream{feed: f, source: source, caller: caller, logger: logger, lagged: map[string]time.Time{}}, nil
}

// Reloads is what it reads from files, which may be renewed while it runs.
func (u *Upstream) Reloads() []daemon.Reload {
	return daemon.Reloads(
		daemon.Reload{What: "files for --upstream", Again: discovery.Reload(u.source)},
		daemon.Reload{What: "files of --tls", Again: u.caller.Again()},
	)
}

// Address is that of the upstream that is being read, "" while there is none.
func (u *Upstream) Address() string {
	if a := u.current.Load(); a != nil {
		return *a
	}
	return ""
}

// Run reads the logs until ctx ends: from the first upstream that answers, and from the
// next one when that is lost.
func (u *Upstream) Run(ctx context.Context) error {
	sets := u.source.Watch(ctx)
	failures, address := 0, ""
	for ctx.Err() == nil {
		var ok bool
		if address, ok = u.next(sets, address); !ok {
			return nil
		}
		began := time.Now()
		err := u.read(ctx, sets, address)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end that was asked for
		}
		if isAged(err) && time.Since(began) > upstreamMinWait {
			address = u.any()
			u.logger.Info("upstream is chosen again", "err", err)
			continue
		}
		if time.Since(began) > upstreamMaxWait {
			failures = 0
		}
		u.wait(ctx, address, err, failures)
		failures++
	}
	return nil
}

// any returns a random upstream, "" if none is known.
func (u *Upstream) any() string {
	if len(u.addresses) == 0 {
		return ""
	}
	return u.addresses[rand.N(len(u.addresses))]
}

// wait logs why an upstream was lost, and waits before the next one.
func (u *Upstream) wait(ctx context.Context, address string, err error, failures int) {
	pause := u.pause(failures)
	if !isRefusal(err) {
		u.refusals.Store(0)
		u.logger.Warn("upstream lost", "upstream", address, "err", reason(err), "retry_in", pause)
		_ = backoff.Sleep(ctx, pause)
		return
	}
	if refusals := int(u.refusals.Add(1)); refusals%max(1, len(u.addresses)) == 0 {
		pause = backoff.Jitter(upstreamRefusedWait)
	}
	u.logger.Warn("upstream does not let this relay read", "upstream", address, "err", err, "retry_in", pause)
	u.caller.Renewed(ctx, pause)
}

// Refused returns an error while no upstream lets this relay read.
func (u *Upstream) Refused() error {
	if u.refusals.Load() > 0 {
		return errRefused
	}
	return nil
}

// pause is that after so many failures. It grows when every address has been tried.
func (u *Upstream) pause(failures int) time.Duration {
	return backoff.Pause(upstreamMinWait, upstreamMaxWait, failures/max(1, len(u.addresses)))
}

// isAged says whether an upstream ended the stream because of its age.
func isAged(err error) bool {
	var told *connect.Error
	if !errors.As(err, &told) {
		return false
	}
	for _, detail := range told.Details() {
		value, err := detail.Value()
		if interrupted, ok := value.(*metricsv1.StreamInterrupted); err == nil && ok {
			return interrupted.GetReason() == metricsv1.StreamInterrupted_REASON_MAX_AGE
		}
	}
	return false
}

// next returns the upstream after the one that was tried last. It waits until there is
// one, and returns false when sets has ended.
func (u *Upstream) next(sets <-chan []discovery.Instance, last string) (string, bool) {
	u.refresh(sets)
	for len(u.addresses) == 0 {
		set, ok := <-sets
		if !ok {
			return "", false
		}
		u.setAddresses(set)
	}
	return u.addresses[(slices.Index(u.addresses, last)+1)%len(u.addresses)], true
}

// refresh takes the newest set of addresses, if there is one.
func (u *Upstream) refresh(sets <-chan []discovery.Instance) {
	select {
	case set, ok := <-sets:
		if ok {
			u.setAddresses(set)
		}
	default:
	}
}

func (u *Upstream) setAddresses(set []discovery.Instance) {
	u.addresses = u.addresses[:0]
	for _, instance := range set {
		u.addresses = append(u.addresses, instance.Address)
	}
}

// errSilent is for an upstream from which nothing comes.
var errSilent = fmt.Errorf("nothing came for %s", upstreamSilence)

// errLagging is for an upstream that does not reach where this server is already.
var errLagging = fmt.Errorf("it has lagged behind this server for %s", upstreamLag)

// mayLeave says whether there is another upstream that did not lag lately: of a log
// that has ended, all may lack the rest.
func (u *Upstream) mayLeave(sets <-chan []discovery.Instance, address string) bool {
	u.refresh(sets)
	for _, other := range u.addresses {
		if other != address && time.Since(u.lagged[other]) > 2*upstreamLag*time.Duration(len(u.addresses)) {
			return true
		}
	}
	return false
}

// read reads the logs of one upstream until that fails.
func (u *Upstream) read(ctx context.Context, sets <-chan []discovery.Instance, address string) error {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(upstreamSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	in := &intake{feed: u.feed, logs: map[segment.LogID]*intakeLog{}, interrupt: func() { cancel(errReplaced) }}
	defer in.release()
	stream, err := u.caller.readLogs(ctx, address, &metricsv1.ReadLogsRequest{
		Positions: u.positions(), Follow: true, HeartbeatInterval: durationpb.New(upstreamHeartbeat),
	})
	if err == nil {
		defer stream.Close()
	}
	for err == nil {
		if err = received(stream); err == nil {
			silence.Reset(upstreamSilence)
			u.refusals.Store(0)
			if u.current.Swap(&address) == nil {
				u.logger.Info("upstream connected", "upstream", address)
			}
			err = in.deliver(ctx, stream.Msg())
		}
		if err == nil && in.lags() && time.Since(began) > upstreamLag && u.mayLeave(sets, address) {
			u.lagged[address] = time.Now()
			err = errLagging
		}
	}
	u.current.Store(nil)
	if cause := context.Cause(ctx); cause != nil {
		return cause // The library says only that the call was canceled.
	}
	return err
}

// received waits for the next message of a stream.
func received[T any](stream *connect.ServerStreamForClient[T]) error {
	if stream.Receive() {
		return nil
	}
	return cmp.Or(stream.Err(), io.EOF)
}

// positions that this server has come to.
func (u *Upstream) positions() []*metricsv1.LogPosition {
	var positions []*metricsv1.LogPosition
	for _, r := range u.feed.replicas.All() {
		if sequence, checksum, ok := r.Position(); ok {
			positions = append(positions, &metricsv1.LogPosition{LogId: r.ID.String(), Sequence: sequence, Checksum: checksum})
		}
	}
	return positions
}
