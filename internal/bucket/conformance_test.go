package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/bucket"
)

// provider is where the buckets of a test are.
type provider struct {
	// url of a bucket, with a prefix in it.
	url func(prefix string) string
}

// Each provider keeps the promises of a Bucket.
func conform(t *testing.T, at provider) {
	for name, test := range map[string]func(*testing.T, provider){
		"create and read":     conformCreate,
		"read a range":        conformRange,
		"create once":         conformOnce,
		"create at one time":  conformRace,
		"list":                conformList,
		"list many":           conformListMany,
		"delete":              conformDelete,
		"not there":           conformNotThere,
		"prefixes are apart":  conformPrefixes,
		"an ended context":    conformContext,
		"names":               conformNames,
		"content that breaks": conformBrokenContent,
		"large":               conformLarge,
	} {
		t.Run(name, func(t *testing.T) { test(t, at) })
	}
}

// open opens the bucket of a test, with a prefix of its own.
func (p provider) open(t *testing.T, prefix string) bucket.Bucket {
	t.Helper()
	b, err := bucket.Open(t.Context(), p.url(prefix), bucket.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}

func prefixOf(t *testing.T) string {
	return strings.NewReplacer("/", "-", "_", "-").Replace(strings.ToLower(t.Name()))
}

func create(t *testing.T, b bucket.Bucket, name, content string) {
	t.Helper()
	require.NoError(t, b.Create(t.Context(), name, strings.NewReader(content), int64(len(content))))
}

func readAll(t *testing.T, b bucket.Bucket, name string, offset, length int64) string {
	t.Helper()
	r, err := b.Open(t.Context(), name, offset, length)
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(content)
}

func list(t *testing.T, b bucket.Bucket, prefix string) (names []string) {
	t.Helper()
	for object, err := range b.List(t.Context(), prefix) {
		require.NoError(t, err)
		names = append(names, object.Name)
	}
	return names
}

func conformCreate(t *testing.T, at provider) {
	b := at.open(t, prefixOf(t))
	before := time.Now()
	create(t, b, "log/20261128.seg", "content")
	create(t, b, "log/empty", "")
	assert.Equal(t, "content", readAll(t, b, "log/20261128.seg", 0, -1))
	assert.Empty(t, readAll(t, b, "log/empty", 0, -1))
	object, err := b.Stat(t.Context(), "log/20261128.seg")
	require.NoError(t, err)
	assert.Equal(t, "log/20261128.seg", object.Name)
	assert.EqualValues(t, 7, object.Size)
	assert.WithinDuration(t, before, object.Modified, time.Minute)
}

func conformRange(t *testing.T, at provider) {
	b := at.open(t, prefixOf(t))
	create(t, b, "a/ten", "0123456789")
	for _, test := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, "0123456789"}, {0, 3, "012"}, {3, 4, "3456"}, {3, -1, "3456789"}, {8, 100, "89"},
		{9, 1, "9"}, {10, 5, ""}, {10, -1, ""}, {1000, 5, ""}, {1000, -1, ""}, {4, 0, ""}, {0, 0, ""},
	} {
		assert.Equal(t, test.want, readAll(t, b, "a/ten", test.offset, test.length), "%d, %d", test.offset, test.length)
	}
	_, err := b.Open(t.Context(), "a/ten", -1, 5)
	assert.Error(t, err)
}

func conformOnce(t *testing.T, at provider) {
	b := at.open(t, prefixOf(t))
	create(t, b, "a/once", "first")
	for _, content := range []string{"second", "first", ""} {
		err := b.Create(t.Context(), "a/once", strings.NewReader(content), int64(len(content)))
		require.ErrorIs(t, err, bucket.ErrExists)
		assert.Contains(t, err.Error(), "a/once")
		assert.Contains(t, err.Error(), b.String())
	}
	assert.Equal(t, "first", readAll(t, b, "a/once", 0, -1))
	require.NoError(t, b.Delete(t.Context(), "a/once"))
	create(t, b, "a/once", "third")
	assert.Equal(t, "third", readAll(t, b, "a/once", 0, -1))
}

// Of many who create the same object at once, one does.
func conformRace(t *testing.T, at provider) {
	const creators = 8
	prefix := prefixOf(t)
	b := at.open(t, prefix)
	for round := range 5 {
		name := fmt.Sprintf("new-%d/object", round)
		errs := make([]error, creators)
		var together sync.WaitGroup
		for i := range creators {
			other := at.open(t, prefix)
			together.Go(func() {
				content := bytes.Repeat([]byte{byte('a' + i)}, 10_000)
				errs[i] = other.Create(t.Context(), name, bytes.NewReader(content), int64(len(content)))
			})
		}
		together.Wait()
		winner := slices.Index(errs, nil)
		require.GreaterOrEqual(t, winner, 0, "%v", errs)
		for i, err := range errs {
			if i != winner {
				require.ErrorIs(t, err, bucket.ErrExists)
			}
		}
		assert.Equal(t, strings.Repeat(string(rune('a'+winner)), 10_000), readAll(t, b, name, 0, -1))
	}
}

func conformList(t *testing.T, at provider) {
	b := at.open(t, prefixOf(t))
	assert.Empty(t, list(t, b, ""))
	names := []string{"a-b", "a/b", "a/b.part/00", "a/b.part/01", "a/b0", "a0", "b/c/d/e", "leases/1"}
	for _, name := range slices.Backward(names) {
		create(t, b, name, name)
	}
	assert.Equal(t, names, list(t, b, ""))
	for prefix, want := range map[string][]string{
		"a": names[:6], "a/": names[1:5], "a/b": names[1:5], "a/b.part/": names[2:4], "a/b.part/01": names[3:4],
		"b/c": names[6:7], "c": nil, "a/b/": nil, "leases/": names[7:],
	} {
		assert.Equal(t, want, list(t, b, prefix), prefix)
	}
	for object, err := range b.List(t.Context(), "a/b.part/") {
		require.NoError(t, err)
		assert.EqualValues(t, len(object.Name), object.Size)
		assert.WithinDuration(t, time.Now(), object.Modified, time.Minute)
		break // whoever lists may stop
	}
}

// A list has more than fits into a page.
func conformListMany(t *testing.T, at provider) {
	b := at.open(t, prefixOf(t))
	const workers = 16
	var want []string
	var together sync.WaitGroup
	names := make(chan string)
	for range workers {
		together.Go(func() {
			for name := range names {
				assert.NoError(t, b.Create(t.Context(), name, strings.NewReader("x"), 1))
			}
		})
	}
	for i := range 2*bucket.PageSize + 7 {
		want = append(want, fmt.Sprintf("many/%06d", i))
	}
	for _, i := range rand.Perm(len(want)) {
		names <- want[i]
	}
	close(names)
	together.Wait()
	assert.Equal(t, want, list(t, b, "many/"))
	assert.Equal(t, want[1000:1010], list(t, b, "many/00100"))
}

func conformDelete(t *testing.T, at provider) {
	b := at.open(t, prefixOf(t))
	create(t, b, "a/one", "1")
	create(t, b, "a/two", "2")
	require.NoError(t, b.Delete(t.Context(), "a/one"))
	require.NoError(t, b.Delete(t.Context(), "a/one"), "it is not there any more")
	require.NoError(t, b.Delete(t.Context(), "never/was"))
	assert.Equal(t, []string{"a/two"}, list(t, b, ""))
	require.NoError(t, b.Delete(t.Context(), "a/two"))
	assert.Empty(t, list(t, b, ""))
}

func conformNotThere(t *testing.T, at provider) {
	b := at.open(t, prefixOf(t))
	create(t, b, "a/there", "x")
	for _, name := range []string{"not/there", "a", "a/there/below", "a/the"} {
		_, err := b.Stat(t.Context(), name)
		require.ErrorIs(t, err, bucket.ErrNotFound, name)
		assert.Contains(t, err.Error(), name)
		for _, length := range []int64{-1, 0, 5} {
			_, err = b.Open(t.Context(), name, 0, length)
			assert.ErrorIs(t, err, bucket.ErrNotFound, "%s, %d", name, length)
		}
	}
}

func conformPrefixes(t *testing.T, at provider) {
	one, other := at.open(t, prefixOf(t)+"/one"), at.open(t, prefixOf(t)+"/one-more")
	create(t, one, "a/x", "1")
	create(t, other, "a/x", "2")
	create(t, other, "a/y", "3")
	assert.Equal(t, []string{"a/x"}, list(t, one, ""))
	assert.Equal(t, []string{"a/x", "a/y"}, list(t, other, ""))
	assert.Equal(t, "1", readAll(t, one, "a/x", 0, -1))
	assert.Equal(t, "2", readAll(t, other, "a/x", 0, -1))
}

func conformContext(t *testing.T, at provider) {
	b := at.open(t, prefixOf(t))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the caller has gone"))
	require.Error(t, b.Create(ctx, "a/x", strings.NewReader("x"), 1))
	var failed bool
	for _, err := range b.List(ctx, "") {
		failed = err != nil
	}
	assert.True(t, failed)
	assert.Empty(t, list(t, b, ""))
}

func conformNames(t *testing.T, at provider) {
	b := at.open(t, prefixOf(t))
	for _, name := range []string{"", "/", "a//b", "../a", "a/../b", "a/.", ".hidden", "a/.hidden", "a/", "/a", "a\\b", "a\x00", "a\nb", "\xff", "a?b", strings.Repeat("a", 501)} {
		require.Error(t, b.Create(t.Context(), name, strings.NewReader("x"), 1), "%q", name)
		_, err := b.Stat(t.Context(), name)
		require.Error(t, err, "%q", name)
		require.NotErrorIs(t, err, bucket.ErrNotFound, "%q", name)
		_, err = b.Open(t.Context(), name, 0, -1)
		require.Error(t, err, "%q", name)
		require.Error(t, b.Delete(t.Context(), name), "%q", name)
	}
	for _, name := range []string{"a b/c+d%2F", "ä/ö=&", "UPPER/lower", "a:b@c,d;e~f!(g)*h'i$"} {
		create(t, b, name, name)
		assert.Equal(t, name, readAll(t, b, name, 0, -1))
		assert.Equal(t, []string{name}, list(t, b, name))
	}
}

// brokenContent is a file whose disk fails in its middle.
type brokenContent struct{ good int64 }

var errDisk = errors.New("input/output error")

func (b brokenContent) ReadAt(p []byte, offset int64) (int, error) {
	if offset+int64(len(p)) > b.good {
		return 0, errDisk
	}
	return len(p), nil
}

// What could not be read whole is not created.
func conformBrokenContent(t *testing.T, at provider) {
	b := at.open(t, prefixOf(t))
	require.ErrorIs(t, b.Create(t.Context(), "a/broken", brokenContent{100_000}, 300_000), errDisk)
	require.Error(t, b.Create(t.Context(), "a/short", strings.NewReader("short"), 10))
	assert.Empty(t, list(t, b, ""))
}

func conformLarge(t *testing.T, at provider) {
	b := at.open(t, prefixOf(t))
	content := make([]byte, 20<<20)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	require.NoError(t, b.Create(t.Context(), "large/object", bytes.NewReader(content), int64(len(content))))
	r, err := b.Open(t.Context(), "large/object", 1, -1)
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	assert.True(t, bytes.Equal(content[1:], got))
	r, err = b.Open(t.Context(), "large/object", 0, -1)
	require.NoError(t, err)
	_, err = io.ReadFull(r, got[:10])
	require.NoError(t, err)
	assert.NoError(t, r.Close(), "whoever reads may stop")
}
