package groups

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/router/raw"
)

// Group is a group of servers that have the same logs. It can be used after it has left
// the groups file, too, for as long as the router runs: its servers are asked no more.
type Group struct {
	all     *Groups
	name    string
	members discovery.Members[*server]
	turn    atomic.Uint64 // whose turn it is among servers that are as good
	left    chan struct{} // closed when it has left the file
	began   time.Time

	mu sync.Mutex
	// spec says how its servers are found, and found ends when they are found otherwise.
	spec   string
	found  context.Context
	refind context.CancelFunc
	away   bool
	// logs that any of its servers has said it has, since the group is in the file; nil: none
	// has answered. Replaced, never changed.
	logs map[segment.LogID]bool
	// answered is when the first did, and known whether the others have, or were waited for.
	answered time.Time
	known    bool

	judging sync.Mutex // whoever takes up what the servers have said, one at a time
}

// mostLogs is how many logs are remembered. Where there were more, those that no server has
// any more are forgotten.
const mostLogs = 1024

func newGroup(all *Groups, of placement.Group) *Group {
	g := &Group{all: all, name: of.Name, left: make(chan struct{}), began: time.Now()}
	g.find(of.Servers)
	g.members = discovery.Members[*server]{
		Start: func(i discovery.Instance) (*server, func(context.Context)) {
			s := newServer(g, i.Address)
			return s, s.watch
		},
		Name: func(i discovery.Instance) string { return i.Address },
		Gone: func(string) {},
	}
	return g
}

// find has the servers found in this way from now on.
func (g *Group) find(spec string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if spec == g.spec {
		return
	}
	if g.refind != nil {
		g.refind()
	}
	g.spec = spec
	g.found, g.refind = context.WithCancel(context.Background())
}

// Watch implements [discovery.Source]: those that there were stay until others are found.
func (g *Group) Watch(ctx context.Context) <-chan []discovery.Instance {
	sets := make(chan []discovery.Instance)
	go func() {
		defer close(sets)
		for ctx.Err() == nil {
			g.watch(ctx, sets)
		}
	}()
	return sets
}

// watch sends what is found until ctx ends or it is found otherwise.
func (g *Group) watch(ctx context.Context, sets chan<- []discovery.Instance) {
	g.mu.Lock()
	spec, found := g.spec, g.found
	g.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(found, cancel)()
	source, err := discovery.Parse(spec, discovery.Options{Logger: g.all.logger})
	if err != nil {
		g.all.logger.Error("a group's servers cannot be found", "group", g.name, "err", err) // The file was checked.
		<-ctx.Done()
		return
	}
	for set := range source.Watch(ctx) {
		select {
		case sets <- set:
		case <-ctx.Done():
		}
	}
}

// leave stops asking the servers.
func (g *Group) leave() { close(g.left) }

// run watches the group's servers until ctx ends or the group has left.
func (g *Group) run(ctx context.Context) {
	var watched sync.WaitGroup
	defer watched.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched.Go(func() {
		defer cancel()
		ticker := time.NewTicker(askEvery)
		defer ticker.Stop()
		for {
			select {
			case <-g.left:
				return
			case <-ctx.Done():
				return
			case <-ticker.C:
				g.changed() // Servers may be gone.
			}
		}
	})
	g.members.Run(ctx, g)
}

// Name of the group.
func (g *Group) Name() string { return g.name }

// Servers is how many there are.
func (g *Group) Servers() int { return len(g.members.All()) }

// Away says that none of its servers answers.
func (g *Group) Away() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.away
}

// Logs are those that any of its servers has or had, as of when it was asked last: a log is
// the group's also while its only server is gone. They are known once every server has
// answered; those that have not are waited for from the first answer on, for as long as they
// may take. A network that comes back brings one server before another, and the first may
// have lost its disk: a log that only the other has would be taken for one of no group.
func (g *Group) Logs() (ids map[segment.LogID]bool, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.logs, g.known
}

// changed takes up what its servers have said. Who sees it has been woken, or is woken by
// what comes after it.
func (g *Group) changed() {
	g.judging.Lock()
	defer g.judging.Unlock()
	away, all, present := g.judge()
	g.mu.Lock()
	was, before, knew := g.away, g.logs, g.known
	logs := remembered(before, present)
	if logs != nil && g.answered.IsZero() {
		g.answered = time.Now()
	}
	known := knew || logs != nil && (all || time.Since(g.answered) > askTime)
	g.mu.Unlock()
	if away == was && known == knew && maps.Equal(before, logs) {
		return
	}
	switch {
	case away && !was:
		g.all.logger.Warn("no server of a group answers", "group", g.name)
	case was && !away:
		g.all.logger.Info("a group answers", "group", g.name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away, g.logs, g.known = away, logs, known
	g.all.changed.Wake()
}

// judge says whether none of its servers answers, whether all have answered ever, and which
// logs they have, nil: none has answered yet.
func (g *Group) judge() (away, all bool, logs map[segment.LogID]bool) {
	servers := g.members.All()
	asked, answering := 0, 0
	all = true
	for _, s := range servers {
		status, err := s.said()
		all = all && (status != nil || s.isOfAnother())
		if status != nil || err != nil {
			asked++
		}
		if status == nil {
			continue
		}
		if err == nil {
			answering++
		}
		if logs == nil {
			logs = map[segment.LogID]bool{}
		}
		for _, l := range status.GetLogs() {
			if id, err := segment.ParseLogID(l.GetLogId()); err == nil {
				logs[id] = true
			}
		}
	}
	return answering == 0 && asked == len(servers) && (asked > 0 || time.Since(g.began) > askTime), all, logs
}

// remembered are the logs that servers have, and those that they had before, for which there
// is room.
func remembered(before, present map[segment.LogID]bool) map[segment.LogID]bool {
	switch {
	case before == nil:
		return present
	case present == nil:
		return before
	}
	all := maps.Clone(before)
	maps.Copy(all, present)
	if len(all) > mostLogs {
		return present
	}
	return all
}

// Refresh asks its servers again, all at once, for as long as ctx lasts.
func (g *Group) Refresh(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range g.members.All() {
		wg.Go(func() { s.ask(ctx) })
	}
	wg.Wait()
}

// mostLost is at how many servers a call is made at most that is lost each time without an
// answer: they may have died of it.
const mostLost = 3

// errNoServers is of a group of which no server is known.
var errNoServers = errors.New("no server of the group is known")

// Open makes a call with many answers at one of its servers, and at the others where that
// one cannot be reached.
func (g *Group) Open(ctx context.Context, procedure string, request proto.Message) (*Stream, error) {
	var opened *Stream
	err := g.each(ctx, func(s *server) error {
		var err error
		opened, err = s.open(ctx, procedure, request)
		return err
	})
	return opened, err
}

// Invoke makes a call with one answer, which it fills in.
func (g *Group) Invoke(ctx context.Context, procedure string, request, response proto.Message) error {
	return g.each(ctx, func(s *server) error { return s.invoke(ctx, procedure, request, response) })
}

// each calls its servers, the best first, until one answers or it would be no use.
func (g *Group) each(ctx context.Context, call func(*server) error) error {
	err := error(connect.NewError(connect.CodeUnavailable, errNoServers))
	lost := 0
	for _, s := range g.ranked() {
		if err = call(s); err == nil || !Passes(err) || ctx.Err() != nil {
			return err
		}
		if lost++; lost == mostLost {
			break
		}
	}
	return err
}

// Passes says whether another server, or the same one later, may answer a call that ended
// with an error.
func Passes(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeAborted, connect.CodeCanceled:
		return true
	}
	return false
}

// ranked are its servers, those first that should be called: that are ready, then those
// that answer, then the others; among those that are as good, in turn. What a server of
// another group has would come twice.
func (g *Group) ranked() []*server {
	servers := slices.DeleteFunc(slices.Clone(g.members.All()), (*server).isOfAnother)
	if len(servers) > 1 {
		n := int(g.turn.Add(1) % uint64(len(servers)))
		servers = append(servers[n:], servers[:n]...)
	}
	slices.SortStableFunc(servers, func(a, b *server) int { return a.rank() - b.rank() })
	return servers
}

// Status is what is known of the group.
func (g *Group) Status() *metricsv1.GroupStatus {
	res := &metricsv1.GroupStatus{Name: g.name, Away: g.Away()}
	for _, s := range g.members.All() {
		status, err := s.said()
		server := &metricsv1.GroupServer{Address: s.address, Instance: status.GetInstance()}
		switch {
		case err != nil:
			server.Error = err.Error()
		case status == nil:
			server.Error = "it has not answered yet"
		case !status.GetReady():
			server.Error = status.GetNotReady()
		default:
			server.Ready = true
		}
		res.PlacementVersion = max(res.PlacementVersion, status.GetPlacementVersion())
		res.Servers = append(res.Servers, server)
	}
	ids, _ := g.Logs()
	for id := range ids {
		res.LogIds = append(res.LogIds, id.String())
	}
	slices.Sort(res.LogIds)
	return res
}

// Last is the state that one of its servers said it has, rather one that answers now. Nil:
// none has answered yet.
func (g *Group) Last() (last *metricsv1.GetStatusResponse) {
	for _, s := range g.members.All() {
		if status, err := s.said(); status != nil && (err == nil || last == nil) {
			last = status
		}
	}
	return last
}

// Stream is a call that a server answers with many messages.
type Stream struct {
	*raw.Stream
	server *server
	done   func()
	once   sync.Once
}

// Receive returns the next message, in the room that is given if that is enough, or io.EOF
// after the last.
func (s *Stream) Receive(into []byte) ([]byte, error) {
	wire, err := s.Stream.Receive(into)
	if err != nil {
		s.server.failed(err)
	}
	return wire, err
}

// Close ends the call.
func (s *Stream) Close() {
	s.Stream.Close()
	s.once.Do(s.done)
}
