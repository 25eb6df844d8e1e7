package call

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ages are below the longest one, and spread over its last fifth.
func TestAgesSpread(t *testing.T) {
	before := time.Now()
	var least, most time.Duration
	for i := range 1000 {
		d := newAge(time.Hour).over.Sub(before)
		if i == 0 {
			least, most = d, d
		}
		least, most = min(least, d), max(most, d)
	}
	require.GreaterOrEqual(t, least, 48*time.Minute)
	require.LessOrEqual(t, most, time.Hour+time.Since(before))
	require.Greater(t, most-least, 10*time.Minute)
	require.False(t, newAge(0).Reached())
}
