package archive

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCacheIsBounded checks that no more is held than fits, that who has to wait for memory
// does so for as long as its context allows, and that nobody else waits.
func TestCacheIsBounded(t *testing.T) {
	const blocks = 4
	release := make(chan struct{})
	c := newCache(t.Context(), blocks*blockSize, func(ctx context.Context, k blockKey) ([]byte, error) {
		if k.object == "slow" {
			<-release
		}
		return make([]byte, k.length), nil
	})
	for i := range int64(3 * blocks) {
		_, err := c.get(t.Context(), blockKey{"quick", i, blockSize})
		require.NoError(t, err)
		require.LessOrEqual(t, c.bytes(), int64(blocks*blockSize))
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	for i := range int64(blocks - 1) {
		_, err := c.get(short, blockKey{"slow", i, blockSize})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	require.False(t, c.prefetch(blockKey{"ahead", 0, blockSize}), "reading ahead leaves room")
	_, err := c.get(t.Context(), blockKey{"quick", 1000, blockSize})
	require.NoError(t, err)
	_, err = c.get(short, blockKey{"slow", blocks - 1, blockSize})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = c.get(short, blockKey{"quick", 2000, blockSize})
	require.ErrorContains(t, err, FlagBytes)
	require.LessOrEqual(t, c.bytes(), int64(blocks*blockSize))
	close(release)
	_, err = c.get(t.Context(), blockKey{"quick", 2000, blockSize})
	require.NoError(t, err)
}

// TestCacheForgetsErrors checks that a block that could not be read is read again.
func TestCacheForgetsErrors(t *testing.T) {
	failures := 1
	c := newCache(t.Context(), blockSize, func(context.Context, blockKey) ([]byte, error) {
		if failures > 0 {
			failures--
			return nil, errors.New("away")
		}
		return []byte("x"), nil
	})
	_, err := c.get(t.Context(), blockKey{"a", 0, 1})
	require.Error(t, err)
	require.Zero(t, c.bytes())
	b, err := c.get(t.Context(), blockKey{"a", 0, 1})
	require.NoError(t, err)
	require.Equal(t, "x", string(b))
}
