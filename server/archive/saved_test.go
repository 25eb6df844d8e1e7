package archive

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/segment"
)

const savedURL = "s3://b/p"

var savedLine = layout.Object{Log: segment.LogID{1}, Segment: "20260102T030405.000Z-00000000000000000007.seg"}.Name() + " 1000 9 77 5 6 1700000000000\n"

// TestSaved checks what is taken from a file of what was known of the bucket.
func TestSaved(t *testing.T) {
	whole := summed(savedURL + "\n" + savedLine)
	logs, err := parseSaved(whole, savedURL)
	require.NoError(t, err)
	e := logs[segment.LogID{1}]["20260102T030405.000Z-00000000000000000007.seg"]
	require.EqualValues(t, 7, e.info.FirstSequence)
	require.EqualValues(t, 9, e.info.LastSequence)
	require.EqualValues(t, 77, e.info.Checksum)
	logs, err = parseSaved(summed("s3://other/p\n"+savedLine), savedURL)
	require.NoError(t, err)
	require.Empty(t, logs, "another bucket's")
	for _, bad := range []string{"x\n", strings.Replace(savedLine, "1000", "-1", 1), strings.Replace(savedLine, " 9 ", " 5 ", 1)} {
		_, err = parseSaved(summed(savedURL+"\n"+bad), savedURL)
		require.Error(t, err, bad)
	}
	for i := range whole {
		_, err = parseSaved(whole[:i], savedURL)
		require.Error(t, err, "%d bytes of it", i)
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1
		_, err = parseSaved(damaged, savedURL)
		require.Error(t, err, "damage at %d", i)
	}
}

func summed(lines string) []byte { return append([]byte(lines), sumOf([]byte(lines))...) }

func FuzzSaved(f *testing.F) {
	f.Add(savedURL + "\n" + savedLine)
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseSaved([]byte(text), savedURL)
		logs, err := parseSaved(summed(text), savedURL)
		for _, segments := range logs {
			for name, e := range segments {
				require.True(t, err == nil || e != nil)
				require.Equal(t, name, e.info.Name)
				require.Positive(t, e.info.Size)
			}
		}
	})
}
