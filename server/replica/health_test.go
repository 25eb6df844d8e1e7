package replica

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/seglog"
)

func TestHealth(t *testing.T) {
	var h health
	later := func(d time.Duration) int64 { return sinceEpoch() + int64(d) }
	check := func(after time.Duration, fed bool) error { return h.check(later(after), fed) }
	require.NoError(t, check(time.Hour, true), "a log to which nothing comes")

	require.NoError(t, h.watch(func() error {
		require.NoError(t, check(0, true))
		require.ErrorIs(t, check(2*stuckTime, true), errStuck)
		return nil
	}))
	require.NoError(t, check(time.Hour, true))

	refused := errors.New("bytes that do not fit")
	require.ErrorIs(t, h.watch(func() error { return refused }), refused)
	require.NoError(t, check(0, true), "what was refused is no fault of this server's")

	require.Error(t, h.watch(func() error { return fmt.Errorf("%w: no space", seglog.ErrBroken) }))
	require.ErrorIs(t, check(0, true), errFailing)
	require.NoError(t, h.watch(func() error { return nil }))
	require.ErrorIs(t, check(0, true), errFailing, "what was there already says nothing")
	require.ErrorIs(t, check(0, false), errFailing)
	require.ErrorIs(t, check(time.Hour, true), errFailing)
	require.NoError(t, check(failedTime, false), "nobody knows, and nobody waits for it")
	h.recover()
	require.NoError(t, check(0, true))
}
