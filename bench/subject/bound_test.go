package subject

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/bench/bound"
	"github.com/promgrpc/exporter/bench/load"
)

// TestMain makes this program the bound's, as the benchmark's does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == bound.Command {
		fmt.Fprintln(os.Stderr, bound.Main(os.Args[2:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestBound(t *testing.T) {
	for _, write := range []int{1, 2} {
		t.Run("remote write "+strconv.Itoa(write), func(t *testing.T) {
			const series, rounds, bytes = 700, 3, 1.5
			l, err := load.Make(load.Plan{
				Series: series, Rounds: rounds, PerRequest: 100, Version: write, Interval: 15 * time.Second, Last: time.Now(),
			})
			require.NoError(t, err)
			s, err := Bound("bound", write, "").Start(t.Context(), Options{Dir: t.TempDir(), Logged: bytes})
			require.NoError(t, err)
			defer s.Stop()
			sender := load.Sender{URL: s.WriteURL, Version: write, Connections: 3}
			sent, err := sender.Send(t.Context(), l.Bodies)
			require.NoError(t, err)
			require.Zero(t, sent.Retries)

			forwarder := s.Front[1]
			log, err := os.ReadFile(filepath.Join(forwarder.Dir, "log"))
			require.NoError(t, err)
			require.Greater(t, float64(len(log)), bytes*series*rounds)
			require.Len(t, s.Servers, 2)
			for _, server := range s.Servers {
				require.Eventually(t, func() bool {
					replica, err := os.ReadFile(filepath.Join(server.Dir, "log"))
					return err == nil && string(replica) == string(log)
				}, time.Minute, 5*time.Millisecond, "%s has other bytes", server.Name)
			}
			require.Len(t, s.Ways, 3)
			for _, way := range s.Ways {
				r, err := way.Read(t.Context())
				require.NoError(t, err, way.Name)
				require.GreaterOrEqual(t, r.Series, series, way.Name)
				require.Less(t, r.Series, 2*series, way.Name)
				require.Equal(t, r.Series, r.Samples, way.Name)
				require.Positive(t, r.FirstByte, way.Name)
			}
		})
	}
}
