package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/internal/usage"
)

const (
	upstreamHeartbeat = 5 * time.Second
	// upstreamSilence is how long an upstream may send nothing.
	upstreamSilence = 3 * upstreamHeartbeat
	// upstreamLag is how long an upstream may lag behind this server if there is
	// another one. Then it is avoided for about as long.
	upstreamLag = 10 * time.Second
	// upstreamDial is how long connecting may take, all addresses of a name together,
	// and TLS after that: a transport goes on dialing when nobody waits for it.
	upstreamDial    = 10 * time.Second
	upstreamMinWait = 100 * time.Millisecond
	upstreamMaxWait = 5 * time.Second
	// maxUpstreamMessage leaves room for more than a server puts into one.
	maxUpstreamMessage = 4 << 20
	// upstreamWindow is how much of what an upstream sent may wait to be taken.
	upstreamWindow = 1 << 20
	// upstreamFrame is the largest frame of HTTP/2 it may send: about a message.
	upstreamFrame = 256 << 10
)

// Upstream feeds a relay with the logs of servers or relays, which all hold the same
// ones. It reads from one at a time.
type Upstream struct {
	feed   *Feed
	source discovery.Source
	tls    *renew.TLS // nil for none
	logger *slog.Logger

	addresses []string // of all that are known
	current   atomic.Pointer[string]
	// lagged is when an upstream was left because it lagged.
	lagged map[string]time.Time
}

// NewUpstream returns what feeds a relay from servers, in [discovery.Syntax].
func NewUpstream(f *Feed, servers string, files renew.TLSFiles, logger *slog.Logger) (*Upstream, error) {
	source, err := discovery.Parse(servers, discovery.Options{Logger: logger})
	if err != nil {
		return nil, usage.Errorf("--upstream: %w", err)
	}
	tls, err := files.Dialer(logger)
	if err != nil {
		return nil, err
	}
	return &Upstream{feed: f, source: source, tls: tls, logger: logger, lagged: map[string]time.Time{}}, nil
}

// Reloads is what it reads from files, which may be renewed while it runs.
func (u *Upstream) Reloads() []daemon.Reload {
	return daemon.Reloads(
		daemon.Reload{What: "files for --upstream", Again: discovery.Reload(u.source)},
		daemon.Reload{What: "files of --tls", Again: u.tls.Again()},
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
		pause := u.pause(failures)
		u.logger.Warn("upstream lost", "upstream", address, "err", err, "retry_in", pause)
		_ = backoff.Sleep(ctx, pause)
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

// client returns one for gRPC with a server. Each call has a connection of its own.
func (u *Upstream) client(address string) metricsv1connect.MetricsServiceClient {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: upstreamDial}).DialContext,
		TLSHandshakeTimeout: upstreamDial,
		DisableKeepAlives:   true,
		Protocols:           new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     upstreamWindow,
			MaxReceiveBufferPerConnection: upstreamWindow,
			MaxReadFrameSize:              upstreamFrame,
		},
	}
	url := "http://" + address
	if u.tls == nil {
		transport.Protocols.SetUnencryptedHTTP2(true)
	} else {
		transport.Protocols.SetHTTP2(true)
		transport.TLSClientConfig = u.tls.Get().Clone() // The transport changes it.
		transport.Proxy = http.ProxyFromEnvironment     // As for any https:// URL.
		url = "https://" + address
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // Another server, without TLS perhaps, is not what was configured.
	}}
	return metricsv1connect.NewMetricsServiceClient(client, url, connect.WithGRPC(),
		connect.WithReadMaxBytes(maxUpstreamMessage),
		connect.WithAcceptCompression("gzip", nil, nil), // Most of a log is compressed already.
	)
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
	stream, err := u.client(address).ReadLogs(ctx, connect.NewRequest(&metricsv1.ReadLogsRequest{
		Positions: u.positions(), Follow: true, HeartbeatInterval: durationpb.New(upstreamHeartbeat),
	}))
	if err == nil {
		defer stream.Close()
	}
	for err == nil {
		if err = received(stream); err == nil {
			silence.Reset(upstreamSilence)
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
	if cause := context.Cause(ctx); cause != nil && errors.Is(cause, errSilent) {
		return cause
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
