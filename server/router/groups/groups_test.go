package groups

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/groupsfile"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/outgoing"
)

// said is a server that says which group and log it has.
type said struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
	group string
	log   segment.LogID
	asked atomic.Int64
	fails atomic.Bool // it does not answer
}

var errFails = errors.New("it fails")

// GetStatus implements the service.
func (s *said) GetStatus(context.Context, *connect.Request[metricsv1.GetStatusRequest]) (*connect.Response[metricsv1.GetStatusResponse], error) {
	s.asked.Add(1)
	if s.fails.Load() {
		return nil, connect.NewError(connect.CodeUnavailable, errFails)
	}
	return connect.NewResponse(&metricsv1.GetStatusResponse{Ready: true, Group: s.group, Logs: []*metricsv1.LogStatus{{LogId: s.log.String()}}}), nil
}

// GetLabelNames implements the service: the name of the group.
func (s *said) GetLabelNames(context.Context, *connect.Request[metricsv1.GetLabelNamesRequest]) (*connect.Response[metricsv1.GetLabelNamesResponse], error) {
	return connect.NewResponse(&metricsv1.GetLabelNamesResponse{Names: []string{s.log.String()}}), nil
}

// serve returns the address of the server.
func (s *said) serve(t *testing.T) string {
	mux := http.NewServeMux()
	mux.Handle(metricsv1connect.NewMetricsServiceHandler(s))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// running are the groups of a file, which is written again by the function.
func running(t *testing.T, text string, log ...io.Writer) (*Groups, func(text string)) {
	path := filepath.Join(t.TempDir(), "groups.yml")
	write := func(text string) {
		require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	write(text)
	logger := slog.New(slog.NewTextHandler(io.MultiWriter(log...), nil))
	file, err := groupsfile.Open(path, groupsfile.Options{Check: Check, Logger: logger})
	require.NoError(t, err)
	caller, err := outgoing.New(credential.Flags{Prefix: "group."}, nil, logger)
	require.NoError(t, err)
	g := New(file, caller, logger)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return g, write
}

func has(g *Group, id segment.LogID) func() bool {
	return func() bool { ids, _ := g.Logs(); return ids[id] && !g.Away() }
}

// Whoever holds a group, such as a stream, goes on with its servers where these are found
// otherwise than before.
func TestServersAreFoundOtherwise(t *testing.T) {
	before, after := &said{log: segment.LogID{1}}, &said{log: segment.LogID{2}}
	g, write := running(t, "groups: {a: {servers: \""+before.serve(t)+"\"}}")
	list, _ := g.Now()
	held := list[0]
	require.Eventually(t, has(held, before.log), time.Minute, time.Millisecond)
	write("groups: {a: {servers: \"" + after.serve(t) + "\"}}")
	require.Eventually(t, has(held, after.log), time.Minute, time.Millisecond)
	names := new(metricsv1.GetLabelNamesResponse)
	require.NoError(t, held.Invoke(t.Context(), metricsv1connect.MetricsServiceGetLabelNamesProcedure, &metricsv1.GetLabelNamesRequest{}, names))
	require.Equal(t, []string{after.log.String()}, names.GetNames())
	list, _ = g.Now()
	require.Same(t, held, list[0])
}

// A server of another group would be read twice, and its group's own not at all.
func TestServerOfAnotherGroup(t *testing.T) {
	a, other := &said{group: "a", log: segment.LogID{1}}, &said{group: "a", log: segment.LogID{1}}
	g, _ := running(t, "version: 1\nspread: {tenant: true}\nepochs: [{groups: [a, b]}]\ngroups: {a: {servers: \""+a.serve(t)+"\"}, b: {servers: \""+other.serve(t)+"\"}}")
	list, _ := g.Now()
	require.Eventually(t, has(list[0], a.log), time.Minute, time.Millisecond)
	require.Eventually(t, list[1].Away, time.Minute, time.Millisecond)
	require.Contains(t, list[1].Status().GetServers()[0].GetError(), "group a")
	_, known := list[1].Logs()
	require.False(t, known)
	err := list[1].Invoke(t.Context(), metricsv1connect.MetricsServiceGetLabelNamesProcedure, &metricsv1.GetLabelNamesRequest{}, new(metricsv1.GetLabelNamesResponse))
	require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err))
}

// A log stays that of a group while its only server is gone: a cursor that names it would
// be taken for one of no group.
func TestLogOfAServerThatIsGone(t *testing.T) {
	stays, goes := &said{log: segment.LogID{1}}, &said{log: segment.LogID{2}}
	address := stays.serve(t)
	g, write := running(t, "groups: {a: {servers: \""+address+","+goes.serve(t)+"\"}}")
	list, _ := g.Now()
	require.Eventually(t, func() bool { return has(list[0], stays.log)() && has(list[0], goes.log)() }, time.Minute, time.Millisecond)
	write("groups: {a: {servers: \"" + address + "\"}}")
	require.Eventually(t, func() bool { return list[0].Servers() == 1 }, time.Minute, time.Millisecond)
	list[0].changed()
	require.True(t, has(list[0], goes.log)())
}

// A server that has lost its disk may answer before one that has the log, which fails at
// first: a cursor that names the log would be taken for one of no group.
func TestLogOfAServerThatAnswersLater(t *testing.T) {
	first, later := &said{log: segment.LogID{1}}, &said{log: segment.LogID{2}}
	later.fails.Store(true)
	began := time.Now()
	g, _ := running(t, "groups: {a: {servers: \""+first.serve(t)+","+later.serve(t)+"\"}}")
	list, _ := g.Now()
	require.Eventually(t, func() bool { return has(list[0], first.log)() && later.asked.Load() > 0 }, time.Minute, time.Millisecond)
	for {
		_, changed := g.Now()
		ids, known := list[0].Logs()
		if known {
			require.True(t, ids[later.log] || time.Since(began) > askTime, "it was not waited for")
			return
		}
		require.True(t, ids[first.log])
		later.fails.Store(false)
		<-changed
	}
}

// One that does not come is not waited for forever.
func TestLogsWhileAServerIsGone(t *testing.T) {
	a := &said{log: segment.LogID{1}}
	g, _ := running(t, "groups: {a: {servers: \""+a.serve(t)+",127.0.0.1:1\"}}")
	list, _ := g.Now()
	require.Eventually(t, func() bool { return g.Pending() == "" }, time.Minute, time.Millisecond)
	require.True(t, has(list[0], a.log)())
}

// There is room for so many logs that no server has any more.
func TestLogsAreForgotten(t *testing.T) {
	many := map[segment.LogID]bool{}
	for i := range mostLogs {
		many[segment.LogID{1, byte(i >> 8), byte(i)}] = true
	}
	known, other := segment.LogID{1}, segment.LogID{2}
	require.Len(t, remembered(many, map[segment.LogID]bool{known: true}), mostLogs)
	require.Equal(t, map[segment.LogID]bool{other: true}, remembered(many, map[segment.LogID]bool{other: true}))
	require.Equal(t, many, remembered(many, nil))
	require.Equal(t, many, remembered(nil, many))
}

// A server is asked by streams that begin as well as by its own goroutine.
func TestAnswerThatWasOvertaken(t *testing.T) {
	g, _ := running(t, "groups: {a: {servers: \"127.0.0.1:1\"}}")
	list, _ := g.Now()
	s := newServer(list[0], "")
	s.take(2, &metricsv1.GetStatusResponse{Ready: true}, nil)
	s.take(1, nil, context.DeadlineExceeded)
	status, err := s.said()
	require.NoError(t, err)
	require.True(t, status.GetReady())
	s.take(3, nil, context.DeadlineExceeded)
	_, err = s.said()
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// Thousands of streams look at the groups whenever something has changed, and not each time
// that a server was asked.
func TestNothingHasChanged(t *testing.T) {
	a := &said{log: segment.LogID{1}}
	var told lines
	g, _ := running(t, "groups: {a: {servers: \""+a.serve(t)+"\"}}", &told)
	list, _ := g.Now()
	require.Eventually(t, has(list[0], a.log), time.Minute, time.Millisecond)
	// A machine that stands still for a moment has its server away, which the log says.
	for before := told.count.Load(); ; before = told.count.Load() {
		_, changed := g.Now()
		asked := a.asked.Load()
		require.Eventually(t, func() bool { return a.asked.Load() > asked+1 }, time.Minute, time.Millisecond)
		select {
		case <-changed:
			require.Greater(t, told.count.Load(), before, "nothing has changed")
		default:
			return
		}
	}
}

// lines counts the lines of a log.
type lines struct{ count atomic.Int64 }

func (l *lines) Write(p []byte) (int, error) {
	l.count.Add(1)
	return len(p), nil
}
