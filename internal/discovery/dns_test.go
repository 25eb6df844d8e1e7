package discovery

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

const srvName = "_link._tcp.server.default.svc.cluster.local"

// nameserver answers for one SRV name.
type nameserver struct {
	t    testing.TB
	conn net.PacketConn

	mu      sync.Mutex
	code    dnsmessage.RCode
	records []dnsmessage.SRVResource
}

func startNameserver(t testing.TB) *nameserver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &nameserver{t: t, conn: conn}
	done := make(chan struct{})
	go func() { defer close(done); s.serve() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return s
}

// resolver asks this server only.
func (s *nameserver) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

func (s *nameserver) set(code dnsmessage.RCode, records ...dnsmessage.SRVResource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code, s.records = code, records
}

func (s *nameserver) serve() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var question dnsmessage.Message
		if err := question.Unpack(buf[:n]); err != nil {
			s.t.Errorf("unpack question: %v", err)
			return
		}
		answer, err := s.answer(question)
		if err != nil {
			s.t.Errorf("pack answer: %v", err)
			return
		}
		_, _ = s.conn.WriteTo(answer, from)
	}
}

func (s *nameserver) answer(question dnsmessage.Message) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: question.ID, Response: true, Authoritative: true, RCode: s.code},
		Questions: question.Questions,
	}
	q := question.Questions[0]
	if q.Type != dnsmessage.TypeSRV || q.Name.String() != srvName+"." {
		m.RCode = dnsmessage.RCodeNameError
		return m.Pack()
	}
	for _, r := range s.records {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 5}, Body: &r,
		})
	}
	return m.Pack()
}

func record(target string, port uint16) dnsmessage.SRVResource {
	return dnsmessage.SRVResource{Priority: 1, Weight: 1, Port: port, Target: dnsmessage.MustNewName(target)}
}

func TestDNS(t *testing.T) {
	s := startNameserver(t)
	s.set(dnsmessage.RCodeNameError)
	var log syncBuffer
	ch := watch(t, "dns+srv://"+srvName, Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Resolver: s.resolver()})
	require.Empty(t, next(t, ch), "a name that is not there yet has no instances")

	b, a := record("server-1.server.default.svc.cluster.local.", 8070), record("server-0.server.default.svc.cluster.local.", 8071)
	s.set(dnsmessage.RCodeSuccess, b, a, a, record("x.", 0))
	want := []Instance{
		{"server-0.server.default.svc.cluster.local:8071", "server-0.server.default.svc.cluster.local:8071"},
		{"server-1.server.default.svc.cluster.local:8070", "server-1.server.default.svc.cluster.local:8070"},
	}
	require.Equal(t, want, next(t, ch))
	require.Contains(t, log.String(), `msg="instance cannot be used"`)
}

func TestDNSAnswers(t *testing.T) {
	s := startNameserver(t)
	d, err := parseDNS(srvName, Options{Logger: slog.New(slog.DiscardHandler), Resolver: s.resolver()})
	require.NoError(t, err)
	ask := func() ([]Instance, error) { return d.ask(t.Context(), 0) }

	s.set(dnsmessage.RCodeSuccess)
	set, err := ask()
	require.NoError(t, err, "a name without records has no instances")
	require.Empty(t, set)

	s.set(dnsmessage.RCodeServerFailure)
	_, err = ask()
	require.Error(t, err, "a server that fails has not said that there are none")

	s.set(dnsmessage.RCodeRefused)
	_, err = ask()
	require.Error(t, err)

	s.set(dnsmessage.RCodeSuccess, record("a.example.", 1))
	set, err = ask()
	require.NoError(t, err)
	require.Equal(t, []Instance{{"a.example:1", "a.example:1"}}, set)

	_ = s.conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = d.ask(ctx, 0)
	require.Error(t, err)
}
