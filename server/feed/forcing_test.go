package feed

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What comes during a sync is for the next one, however much it is.
func TestForcingGroups(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	var forced atomic.Int32
	f := newForcing(func() error {
		began <- struct{}{}
		<-end
		forced.Add(1)
		return nil
	}, nil)
	f.schedule()
	<-began
	for range 100 {
		f.schedule()
	}
	end <- struct{}{}
	<-began
	end <- struct{}{}
	require.NoError(t, f.end())
	require.Equal(t, int32(2), forced.Load())
}

// Nothing is forced after a failure, which is told once.
func TestForcingFails(t *testing.T) {
	bad := errors.New("disk")
	calls, failed := 0, make(chan struct{}, 2)
	f := newForcing(func() error {
		calls++
		return bad
	}, func() { failed <- struct{}{} })
	f.schedule()
	<-failed
	f.schedule()
	time.Sleep(10 * time.Millisecond)
	require.ErrorIs(t, f.end(), bad)
	require.Equal(t, 1, calls)
	require.Empty(t, failed)
}
