package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server/exchange"
	"github.com/promgrpc/exporter/server/replica"
)

// FlagPeers names the other servers.
const FlagPeers = "--peers"

const (
	// peersTick is how often it is looked whether there is something to do.
	peersTick = 500 * time.Millisecond
	// askTimeout is how long a peer may take to say which logs it has.
	askTimeout = 10 * time.Second
	// firstRound is how long a server that was started waits for peers before it is ready.
	firstRound = 30 * time.Second
	// fetchTurn is how long one may take at a time to send what it has of a log: another
	// may have it, too.
	fetchTurn = time.Minute
)

// Self is this server, as it says itself who it is.
type Self struct {
	Instance string
	Started  time.Time
	// Bucket says when the bucket was last asked what it has of a log. Nil: there is none.
	Bucket func(segment.LogID) time.Time
}

// Peers completes the logs that no forwarder feeds with what other servers have of them.
// What is asked for is decided by package exchange.
type Peers struct {
	feed     *Feed
	source   discovery.Source
	caller   *caller
	self     Self
	logger   *slog.Logger
	exchange *exchange.Exchange
	// begun is set once all peers were asked.
	begun atomic.Bool
	// results of questions and fetches, which Run applies.
	results chan func(now time.Time)
	// answering is whether a peer answered the last question, and owners is to whom logs
	// belong where peers have them, if peers prove that they are servers. Run has both.
	answering map[string]bool
	owners    map[segment.LogID][]string

	up      *prometheus.GaugeVec
	blocks  prometheus.Counter
	fetches *prometheus.CounterVec
}

// NewPeers returns what asks other servers, in [discovery.Syntax], which it calls as flags
// say. What has not the role of a server is none, if roles name any.
func NewPeers(f *Feed, servers string, flags credential.Flags, roles link.Roles, self Self, logger *slog.Logger) (*Peers, error) {
	source, err := discovery.Parse(servers, discovery.Options{Logger: logger, Unready: true})
	if err != nil {
		return nil, usage.Errorf("%s: %w", FlagPeers, err)
	}
	caller, err := newCaller(flags, roles, logger)
	if err != nil {
		return nil, err
	}
	if err := caller.MayCallAll(servers); err != nil {
		return nil, usage.Errorf("%s: %w", FlagPeers, err)
	}
	p := &Peers{
		feed: f, source: source, caller: caller, self: self, logger: logger,
		exchange: exchange.New(), results: make(chan func(time.Time)), answering: map[string]bool{}, owners: map[segment.LogID][]string{},
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "promgrpc_server_peer_up",
			Help: "1 if another server answered when it was last asked which logs it has, by its address.",
		}, []string{"peer"}),
		blocks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "promgrpc_server_exchanged_blocks_total",
			Help: "Blocks of logs that no forwarder fed here, which other servers had and sent.",
		}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promgrpc_server_exchanges_total",
			Help: "Logs that another server was asked for, by the outcome: sent, all that it has; failed; diverged, it has other blocks; taken, a forwarder came; refused, there is no place for it here.",
		}, []string{"outcome"}),
	}
	for _, name := range outcomes {
		p.fetches.WithLabelValues(name)
	}
	return p, nil
}

// outcomes of fetches, as they are counted.
var outcomes = map[exchange.Outcome]string{
	exchange.Sent: "sent", exchange.Failed: "failed", exchange.Diverged: "diverged", exchange.Taken: "taken", exchange.Refused: "refused",
}

// Collectors are for what is counted.
func (p *Peers) Collectors() []prometheus.Collector {
	return []prometheus.Collector{p.up, p.blocks, p.fetches}
}

// Reloads is what it reads from files, which may be renewed while it runs.
func (p *Peers) Reloads() []daemon.Reload {
	return daemon.Reloads(
		daemon.Reload{What: "files for " + FlagPeers, Again: discovery.Reload(p.source)},
		daemon.Reload{What: "files of " + p.caller.Flag("tls"), Again: p.caller.Again()},
	)
}

// Run asks peers until ctx ends.
func (p *Peers) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	sets := p.source.Watch(ctx)
	tick := time.NewTicker(peersTick)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return nil
		case set, ok := <-sets:
			if ok {
				p.known(set)
			}
		case result := <-p.results:
			p.exchange.Here(p.here(), time.Now())
			result(time.Now())
		case <-tick.C:
		}
		p.step(ctx, &wg)
	}
	return nil
}

// known takes a set of peers.
func (p *Peers) known(set []discovery.Instance) {
	var addresses []string
	still := map[string]bool{}
	for _, instance := range set {
		addresses = append(addresses, instance.Address)
		still[instance.Address] = true
	}
	for address := range p.answering {
		if !still[address] {
			delete(p.answering, address)
			p.up.DeleteLabelValues(address)
		}
	}
	p.exchange.Peers(addresses, time.Now())
}

// here is what this server has.
func (p *Peers) here() exchange.Here {
	replicas := p.feed.replicas
	h := exchange.Here{Room: replicas.Room(), Bucket: p.self.Bucket, Retired: func(id segment.LogID) bool {
		_, retired := replicas.Retired()[id]
		return retired || replicas.Get(id) != nil // of the bucket alone
	}}
	for _, r := range replicas.All() {
		h.Logs = append(h.Logs, exchange.Log{ID: r.ID, Last: r.Log.Last(), Fed: r.Connected()})
	}
	return h
}

// step does what is planned.
func (p *Peers) step(ctx context.Context, wg *sync.WaitGroup) {
	now := time.Now()
	p.exchange.Here(p.here(), now)
	plan := p.exchange.Plan(now)
	for _, address := range plan.Ask {
		wg.Go(func() { p.ask(ctx, address) })
	}
	for _, f := range plan.Fetch {
		owner := p.owners[f.Log]
		wg.Go(func() {
			outcome := p.fetch(ctx, f, owner)
			p.fetches.WithLabelValues(outcomes[outcome]).Inc()
			p.give(ctx, func(now time.Time) { p.exchange.Fetched(f, outcome, now) })
		})
	}
	p.end(plan.Ended)
	if !p.begun.Load() && p.exchange.Begun(now) {
		p.begun.Store(true)
	}
}

// errNotAsked is why a server is not ready that may lack logs which others have.
var errNotAsked = errors.New("other servers are being asked for logs that no forwarder brings any more")

// Check says why a server that was just started should not be called yet.
func (p *Peers) Check() error {
	if p.begun.Load() || time.Since(p.self.Started) > firstRound {
		return nil
	}
	return errNotAsked
}

// give has Run apply a result.
func (p *Peers) give(ctx context.Context, result func(now time.Time)) {
	select {
	case p.results <- result:
	case <-ctx.Done():
	}
}

// end notes which logs have ended for good.
func (p *Peers) end(logs []segment.LogID) {
	ended := map[segment.LogID]bool{}
	for _, id := range logs {
		ended[id] = true
	}
	for _, r := range p.feed.replicas.All() {
		is := ended[r.ID] && !r.Connected()
		if !r.SetComplete(is) {
			continue
		}
		if is {
			p.logger.Info("log has ended: its forwarder is gone, and no peer has more of it", "log_id", r.ID.String(), "last_sequence", r.Log.Last())
		} else {
			p.logger.Info("log has not ended after all", "log_id", r.ID.String(), "last_sequence", r.Log.Last())
		}
		p.feed.replicas.Updates.Wake()
	}
}

// ask asks a peer which logs it has.
func (p *Peers) ask(ctx context.Context, address string) {
	within, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	status, err := p.caller.status(within, address)
	var logs []exchange.Log
	self := err == nil && status.GetInstance() == p.self.Instance && status.GetStartTime().AsTime().Equal(p.self.Started)
	if err == nil && !self {
		logs, err = logsOf(status)
	}
	p.give(ctx, func(now time.Time) {
		p.answered(address, err)
		switch {
		case err != nil:
			p.exchange.NotTold(address, now)
		case self:
			p.exchange.Self(address, now)
		default:
			p.exchange.Told(address, logs, now)
			p.learnOwners(status)
		}
	})
}

// learnOwners notes to whom logs belong that are not here.
func (p *Peers) learnOwners(status *metricsv1.GetStatusResponse) {
	if !p.caller.ByRole() {
		return
	}
	for id := range p.owners {
		if p.feed.replicas.Get(id) != nil {
			delete(p.owners, id)
		}
	}
	for _, l := range status.GetLogs() {
		id, err := segment.ParseLogID(l.GetLogId())
		if err == nil && len(l.GetOwners()) > 0 && len(p.owners) < mostOwners && p.feed.replicas.Get(id) == nil {
			p.owners[id] = l.GetOwners()
		}
	}
}

// mostOwners bounds of how many logs is kept to whom they belong.
const mostOwners = 4 * cursor.MaxLogs

// answered notes whether a peer answered, and logs when that changes.
func (p *Peers) answered(address string, err error) {
	before, asked := p.answering[address]
	p.answering[address] = err == nil
	up := p.up.WithLabelValues(address)
	switch {
	case err == nil:
		up.Set(1)
		if !before {
			p.logger.Info("peer answers", "peer", address)
		}
		return
	case before || !asked:
		p.logger.Warn("peer does not say which logs it has", "peer", address, "err", reason(err))
	}
	up.Set(0)
}

// logsOf are the logs of a status. What feeds those of a relay is no forwarder.
func logsOf(status *metricsv1.GetStatusResponse) (logs []exchange.Log, err error) {
	if n := len(status.GetLogs()); n > cursor.MaxLogs {
		return nil, errInvents
	}
	relay := status.GetUpstream() != ""
	for _, l := range status.GetLogs() {
		id, err := segment.ParseLogID(l.GetLogId())
		if err != nil {
			return nil, err
		}
		logs = append(logs, exchange.Log{ID: id, Last: l.GetLastSequence(), Fed: l.GetConnected() && !relay})
	}
	return logs, nil
}

// fetch gets from a peer what it has of a log after what is here.
func (p *Peers) fetch(ctx context.Context, f exchange.Fetch, owner []string) exchange.Outcome {
	ctx, cancel := context.WithTimeout(ctx, fetchTurn)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	in := &intake{
		feed: p.feed, logs: map[segment.LogID]*intakeLog{}, interrupt: func() { stop(errReplaced) },
		from: replica.Source{Completes: true, Owner: owner, New: p.feed.newLogs.Hold(f.Peer)},
	}
	defer in.release()
	who := []any{"log_id", f.Log.String(), "peer", f.Peer}
	l, err := in.log(ctx, f.Log)
	if err == nil {
		before := l.Log.Last()
		err = p.read(ctx, stop, f, in, l)
		if came := l.Log.Last() - before; came > 0 {
			p.blocks.Add(float64(came))
			p.logger.Info("log completed by a peer", append(who, "after_sequence", before, "last_sequence", l.Log.Last())...)
		}
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // The library says only that the call was canceled.
	}
	outcome := outcomeOf(err)
	switch outcome {
	case exchange.Diverged:
		p.feed.log.Log(slog.LevelError, "a peer has other blocks of a log: what it has is not taken", append(who, "err", reason(err))...)
	case exchange.Failed, exchange.Refused:
		p.feed.log.Log(slog.LevelWarn, "log is not completed by a peer", append(who, "err", reason(err))...)
	}
	return outcome
}

// outcomeOf is how a fetch ended, by its error.
func outcomeOf(err error) exchange.Outcome {
	var refused *replica.RefusedError
	switch {
	case err == nil:
		return exchange.Sent
	case errors.Is(err, errReplaced), errors.Is(err, replica.ErrFed):
		return exchange.Taken
	case errors.As(err, &refused):
		return exchange.Refused
	case hasDiverged(err):
		return exchange.Diverged
	}
	return exchange.Failed
}

// read reads a log of a peer to the end of what that has.
func (p *Peers) read(ctx context.Context, stop context.CancelCauseFunc, f exchange.Fetch, in *intake, l *intakeLog) error {
	silence := time.AfterFunc(upstreamSilence, func() { stop(errSilent) })
	defer silence.Stop()
	req := &metricsv1.ReadLogsRequest{LogIds: []string{f.Log.String()}}
	if sequence, checksum, ok := l.Position(); ok {
		req.Positions = []*metricsv1.LogPosition{{LogId: f.Log.String(), Sequence: sequence, Checksum: checksum}}
	}
	stream, err := p.caller.readLogs(ctx, f.Peer, req)
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		if err := received(stream); err != nil {
			return err
		}
		msg := stream.Msg()
		if len(msg.GetData().GetData()) > 0 {
			silence.Reset(upstreamSilence)
		}
		switch {
		case msg.GetEnd() != nil:
			return nil
		case msg.GetLogId() == "":
			return fmt.Errorf("a response without a log came, %T", msg.GetEvent())
		case msg.GetLogId() != f.Log.String():
			return fmt.Errorf("something of log %.40q came, which was not asked for", msg.GetLogId())
		default:
			if err := in.take(l, msg); err != nil {
				return err
			}
		}
	}
}
