package head_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// TestElections checks that who is elected passes from blocks into a keyframe, of more than
// one chunk too, and from there into another head, without what is to be forgotten.
func TestElections(t *testing.T) {
	const n = 5000
	long := strings.Repeat("x", segment.MaxElectionText-10)
	var all []segment.Election
	for i := range n {
		all = append(all, segment.Election{Tenant: long, Cluster: fmt.Sprintf("%04d", i), Replica: "a", Term: 1, LogID: segment.LogID{1}})
	}
	h := head.New()
	apply(t, h, &segment.Block{Sequence: 1, Elections: all})
	all[7].Replica, all[7].Term = "b", 2
	apply(t, h, &segment.Block{Sequence: 2, Elections: all[7:8]})
	require.Equal(t, all, h.Elections())

	h.ForgetElections([]head.Cluster{{Tenant: long, Name: "0000"}})
	again := head.New()
	apply(t, again, &segment.Block{Sequence: 1, Elections: []segment.Election{{Cluster: "gone", Term: 1, LogID: segment.LogID{1}}}})
	chunks := 0
	require.NoError(t, h.Keyframe(func(k *segment.Keyframe) error {
		chunks++
		return again.ApplyKeyframe(k)
	}))
	require.Greater(t, chunks, 1)
	require.Equal(t, all[1:], again.Elections())
	require.Equal(t, all[1:], h.Elections())
}
