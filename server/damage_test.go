package server_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// startDamaged starts a server with a damaged segment between others, and returns the
// segment's name.
func startDamaged(t *testing.T, src *source) (s *instance, segment string) {
	t.Helper()
	for i := range int64(3) {
		src.write(point{series: "a", t: 10*i + 1, v: 1})
		src.write(point{series: "a", t: 10*i + 2, v: 2})
		src.rotate()
	}
	src.write(point{series: "a", t: 31, v: 1})
	c := testConfig(t)
	startFed(t, c, src).stop()
	files, err := filepath.Glob(filepath.Join(c.StoragePath, "*", "*.seg"))
	require.NoError(t, err)
	require.Len(t, files, 4)
	slices.Sort(files)
	data, err := os.ReadFile(files[1])
	require.NoError(t, err)
	data[len(data)-200] ^= 0x40 // within its last block
	require.NoError(t, os.WriteFile(files[1], data, 0o644))
	return startFed(t, c, src), filepath.Base(files[1])
}

// A segment that is damaged on this server's disk costs a stream what comes after the
// damage in it. The client is told what is missing, and goes on with the next segment.
func TestDamagedSegment(t *testing.T) {
	src := newSource(t)
	s, segment := startDamaged(t, src)
	for _, follow := range []bool{false, true} {
		recv := s.call(t, &getRequest{Start: sinceStart(), Follow: follow})
		got := until(t, recv, func(r *getResponse) bool { return isSynced(r) || r.GetEnd() != nil })
		require.Equal(t, []string{"a 1 @1", "a 2 @2", "a 1 @11", "a 1 @21", "a 2 @22", "a 1 @31"}, lines(got...))
		i := slices.IndexFunc(got, func(r *getResponse) bool { return r.GetGap() != nil })
		require.GreaterOrEqual(t, i, 0)
		gap := got[i].GetGap()
		require.Equal(t, src.writer.Log().ID().String(), gap.GetLogId())
		require.Equal(t, uint64(3), gap.GetAfterSequence())
		require.Equal(t, uint64(5), gap.GetNextSequence())
		require.Contains(t, gap.GetReason(), "damaged")
		require.Equal(t, []string{"a 1 @1", "a 2 @2", "a 1 @11"}, lines(got[:i+1]...))
	}
	require.Equal(t, float64(2), s.metric(t, "promgrpc_server_stream_gaps_total"))
	require.Equal(t, float64(1), s.metric(t, "promgrpc_log_damaged_segments_total"))
	require.Regexp(t, `msg="segment is damaged" file=\S*`+segment+` offset=\d+`, s.log)
	require.Regexp(t, `msg="stream has a gap".* after_sequence=3 next_sequence=5`, s.log)
}
