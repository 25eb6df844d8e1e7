package buckettest

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/bucket"
)

func TestFaulty(t *testing.T) {
	b, err := bucket.Open(t.Context(), t.TempDir(), bucket.Options{})
	require.NoError(t, err)
	f := New(b)
	create := func(name string) error { return f.Create(t.Context(), name, strings.NewReader("content"), 7) }
	read := func() (string, error) {
		r, err := f.Open(t.Context(), "a", 0, -1)
		if err != nil {
			return "", err
		}
		content, err := io.ReadAll(r)
		require.NoError(t, r.Close())
		return string(content), err
	}
	listed := func() (names []string, failed error) {
		for object, err := range f.List(t.Context(), "") {
			names, failed = append(names, object.Name), err
		}
		return names, failed
	}

	require.NoError(t, create("a"))
	content, err := read()
	require.NoError(t, err)
	assert.Equal(t, "content", content)

	f.Set(Faults{CutReads: 3})
	content, err = read()
	require.ErrorIs(t, err, ErrCut)
	assert.Equal(t, "con", content)

	f.Set(Faults{LoseAnswers: true})
	require.ErrorIs(t, create("b"), ErrLost)
	require.ErrorIs(t, f.Delete(t.Context(), "a"), ErrLost)
	f.Set(Faults{})
	names, err := listed()
	require.NoError(t, err)
	assert.Equal(t, []string{"b"}, names)
	require.ErrorIs(t, create("b"), bucket.ErrExists)

	for want, faults := range map[error]Faults{ErrAway: {Away: true, Delay: time.Millisecond}, ErrRefused: {Refuse: true}} {
		f.Set(faults)
		before := f.Calls()
		_, err = f.Stat(t.Context(), "b")
		require.ErrorIs(t, err, want)
		_, err = listed()
		require.ErrorIs(t, err, want)
		_, err = read()
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, create("c"), want)
		require.ErrorIs(t, f.Delete(t.Context(), "b"), want)
		assert.Equal(t, before+5, f.Calls())
	}
}
