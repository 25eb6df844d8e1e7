package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/buckettest"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/segment"
)

const segmentName = "20260102T030405.000Z-00000000000000000005.seg"

// segmentObject is what segmentBytes makes, in a bucket.
var segmentObject = layout.Object{Log: segment.LogID{1, 2, 3}, Segment: segmentName}

// bucketWithSegment has a segment, sealed or in two pieces.
func bucketWithSegment(t *testing.T, url string, sealed bool) {
	t.Helper()
	b, err := bucket.Open(t.Context(), url, bucket.Options{})
	require.NoError(t, err)
	defer b.Close()
	put := func(o layout.Object, content []byte) {
		require.NoError(t, b.Create(t.Context(), o.Name(), bytes.NewReader(content), int64(len(content))))
	}
	content := segmentBytes(t)
	if sealed {
		put(segmentObject, content)
		return
	}
	frames := segment.NewFrameReader(bytes.NewReader(content), segment.HeaderSize)
	_, err = frames.Skip(int64(len(content)))
	require.NoError(t, err)
	piece := segmentObject
	piece.Piece = true
	put(piece, content[:frames.Offset()])
	piece.Offset = frames.Offset()
	put(piece, content[frames.Offset():])
}

func s3URL(t *testing.T, prefix string) string {
	t.Helper()
	return "s3://" + buckettest.Bucket + "/" + prefix + "?insecure=true&endpoint=" + buckettest.StartS3(t)
}

func TestInspectOfABucket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "segment")
	require.NoError(t, os.WriteFile(file, segmentBytes(t), 0o600))
	want := runCLI(t, t.Context(), "inspect", file)
	require.Equal(t, ExitOK, want.code, want.stderr)
	for name, sealed := range map[string]bool{"sealed": true, "pieces": false} {
		t.Run(name, func(t *testing.T) {
			url := s3URL(t, "prefix/"+name)
			bucketWithSegment(t, url, sealed)
			object := strings.Replace(url, "?", "/"+segmentObject.Name()+"?", 1)
			r := runCLI(t, t.Context(), "inspect", object)
			require.Equal(t, ExitOK, r.code, r.stderr)
			assert.Equal(t, want.stdout, r.stdout)
			r = runCLI(t, t.Context(), "inspect", strings.Replace(object, "000005.seg", "000006.seg", 1))
			assert.Equal(t, ExitFailure, r.code)
			assert.Contains(t, r.stderr, "object does not exist")
		})
	}
	r := runCLI(t, t.Context(), "inspect", "file://"+file)
	assert.Equal(t, want.stdout, r.stdout)
	r = runCLI(t, t.Context(), "inspect", "s3://bucket/some/object")
	assert.Equal(t, ExitUsage, r.code)
	assert.Contains(t, r.stderr, "ends with its log's id")
}

func TestSegmentsOfABucket(t *testing.T) {
	for name, sealed := range map[string]bool{"sealed": true, "pieces": false} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			bucketWithSegment(t, folder, sealed)
			r := runCLI(t, t.Context(), "segments", "--bucket", folder)
			require.Equal(t, ExitOK, r.code, r.stderr)
			lines := strings.Split(r.stdout, "\n")
			assert.Equal(t, []string{"LOG", "NAME", "FIRST", "LAST", "SIZE", "SEALED", "NOTE"}, strings.Fields(lines[0]))
			assert.Equal(t, []string{"01020300", segmentName, "5", "6"}, strings.Fields(lines[1])[:4])
			assert.Equal(t, !sealed, strings.Contains(lines[1], "2 pieces"))
			assert.Equal(t, []string{"LOG", "SEGMENTS", "FIRST", "LAST", "MISSING", "DAMAGED", "SIZE"}, strings.Fields(lines[3]))
			assert.Equal(t, []string{segmentObject.Log.String(), "1", "5", "6", "0", "0"}, strings.Fields(lines[4])[:6])
			r = runCLI(t, t.Context(), "segments", "--bucket", folder, "-o", "json")
			require.Equal(t, ExitOK, r.code, r.stderr)
			assert.Contains(t, r.stdout, `"first_sequence":5,"last_sequence":6`)
		})
	}
	r := runCLI(t, t.Context(), "segments", "--bucket", "ftp://x")
	assert.Equal(t, ExitUsage, r.code)
	r = runCLI(t, t.Context(), "segments", "--bucket", filepath.Join(t.TempDir(), "missing"))
	assert.Equal(t, ExitFailure, r.code, "a folder that is not there is no empty bucket")
}

func TestRestoreCommand(t *testing.T) {
	url := s3URL(t, "prefix")
	bucketWithSegment(t, url, true)
	folder := filepath.Join(t.TempDir(), "restored")
	r := runCLI(t, t.Context(), "restore", "--bucket", url, "--to", folder)
	require.Equal(t, ExitOK, r.code, r.stderr)
	assert.Equal(t, []string{segmentObject.Log.String(), "1", "5", "6", "0"}, strings.Fields(strings.Split(r.stdout, "\n")[1])[:5])
	got, err := os.ReadFile(filepath.Join(folder, segmentObject.Log.String(), segmentName))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(segmentBytes(t), got))

	r = runCLI(t, t.Context(), "restore", "--bucket", url, "--to", folder)
	assert.Equal(t, ExitUsage, r.code, "nothing is overwritten")
	r = runCLI(t, t.Context(), "restore", "--bucket", url, "--to", t.TempDir(), "--since", "never")
	assert.Equal(t, ExitUsage, r.code)
	r = runCLI(t, t.Context(), "restore", "--bucket", url, "--to", t.TempDir(), "--since", "2100-01-02T15:04:05Z")
	assert.Equal(t, ExitFailure, r.code)
	assert.Contains(t, r.stderr, "nothing of what is to be restored")
	r = runCLI(t, t.Context(), "restore", "--to", t.TempDir())
	assert.Equal(t, ExitUsage, r.code)
}
