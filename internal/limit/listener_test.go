package limit_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/peer"
)

// A connection beyond the budget is closed and told of; the others stay, and
// what one gives back another gets.
func TestListener(t *testing.T) {
	for _, test := range []struct {
		name    string
		proxies []string
		most    int
	}{
		{"a share", nil, 2},
		{"a proxy has no share", []string{"127.0.0.0/8"}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			proxies, err := peer.ParseProxies(test.proxies)
			require.NoError(t, err)
			budget := limit.NewBudget("--limit.connections-of-tests", "connections", 4, 2)
			refused := make(chan error, 10)
			l := &limit.Listener{
				Listener: inner, Budget: budget, Proxies: proxies,
				Refused: func(_ net.Addr, err error) { refused <- err },
			}
			accepted := make(chan net.Conn, 10)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					accepted <- c
				}
			}()
			defer func() { <-ended }()
			defer l.Close()
			dial := func() net.Conn {
				c, err := net.Dial("tcp", inner.Addr().String())
				require.NoError(t, err)
				t.Cleanup(func() { _ = c.Close() })
				return c
			}
			var open []net.Conn
			for range test.most {
				dial()
				open = append(open, <-accepted)
			}
			over := dial()
			var known *limit.Error
			require.ErrorAs(t, <-refused, &known)
			require.Equal(t, "connections-of-tests", known.Name)
			require.NoError(t, over.SetReadDeadline(time.Now().Add(20*time.Second)))
			_, err = over.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)

			require.NoError(t, open[0].(interface{ CloseWrite() error }).CloseWrite())
			require.NoError(t, open[0].Close())
			require.Error(t, open[0].Close())
			require.EqualValues(t, test.most-1, budget.Used())
			dial()
			open[0] = <-accepted
			require.EqualValues(t, test.most, budget.Used())
			for _, c := range open {
				require.NoError(t, c.Close())
			}
			require.Zero(t, budget.Used())
		})
	}
}
