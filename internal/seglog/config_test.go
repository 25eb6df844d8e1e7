package seglog

import (
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"
)

func TestStorageFlags(t *testing.T) {
	parse := func(args ...string) (Options, error) {
		storage, segments := DefaultStorageConfig("data"), DefaultSegmentConfig()
		app := kingpin.New("program", "")
		storage.RegisterFlags(app, "Folder.")
		segments.RegisterFlags(app)
		if _, err := app.Parse(args); err != nil {
			return Options{}, err
		}
		return storage.options(&segments)
	}

	o, err := parse()
	require.NoError(t, err)
	require.Equal(t, DefaultOptions(), o)

	want := DefaultOptions()
	want.Sync = SyncInterval
	want.RetentionTime, want.RetentionSize = time.Minute, 5<<20
	want.SegmentDuration, want.SegmentSize = time.Second, 1<<10
	o, err = parse("--storage.sync=interval", "--storage.retention.time=1m", "--storage.retention.size=5MiB",
		"--storage.segment.duration=1s", "--storage.segment.size=1KiB")
	require.NoError(t, err)
	require.Equal(t, want, o)

	// Segments are so small that retention can be kept.
	want = DefaultOptions()
	want.RetentionTime, want.RetentionSize = time.Hour, 4<<20
	want.SegmentDuration, want.SegmentSize = 15*time.Minute, 1<<20
	o, err = parse("--storage.retention.time=1h", "--storage.retention.size=4MiB")
	require.NoError(t, err)
	require.Equal(t, want, o)

	for _, wrong := range []string{
		"--storage.path=",
		"--storage.sync=sometimes",
		"--storage.retention.time=-1s",
		"--storage.retention.size=-1B",
		"--storage.segment.duration=0s",
		"--storage.segment.size=0B",
	} {
		_, err := parse(wrong)
		require.Error(t, err, wrong)
	}
}
