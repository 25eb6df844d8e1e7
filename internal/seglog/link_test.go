package seglog

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/promgrpc/exporter/internal/segment"
)

// Segments of several logs begin at a time, each of which the store's link points at for
// a while.
func TestLinksOfSeveralLogs(t *testing.T) {
	s, err := OpenStore(t.TempDir(), testOptions(newClock()))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	var logs errgroup.Group
	for i := range 4 {
		l := &Log{id: segment.LogID{byte(i + 1)}}
		l.dir = filepath.Join(s.path, l.id.String())
		require.NoError(t, os.Mkdir(l.dir, 0o700))
		logs.Go(func() error {
			for range 100 {
				if err := s.link(l, "a"+nameExt); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, logs.Wait())
}
