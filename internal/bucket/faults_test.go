package bucket_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/buckettest"
)

// broken opens a bucket of each provider behind a proxy.
func broken(t *testing.T, options bucket.Options, test func(t *testing.T, b bucket.Bucket, proxy *buckettest.Proxy)) {
	for name, provider := range map[string]struct {
		start func(*testing.T) string
		url   string
	}{
		"s3": {buckettest.StartS3, "s3://test/faults?insecure=true&endpoint="},
		"gs": {buckettest.StartGCS, "gs://test/faults?insecure=true&endpoint="},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := buckettest.StartProxy(t, provider.start(t))
			b, err := bucket.Open(t.Context(), provider.url+proxy.Address, options)
			require.NoError(t, err)
			defer b.Close()
			test(t, b, proxy)
		})
	}
}

func content(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// A read goes on where its connection broke, and ends with an error if it gets no
// further.
func TestReadsGoOn(t *testing.T) {
	broken(t, bucket.Options{}, func(t *testing.T, b bucket.Bucket, proxy *buckettest.Proxy) {
		want := content(1 << 20)
		require.NoError(t, b.Create(t.Context(), "a/x", bytes.NewReader(want), int64(len(want))))
		for _, length := range []int64{-1, 900_000} {
			proxy.Set(buckettest.Faults{CutReads: 300_000})
			before := proxy.Calls()
			r, err := b.Open(t.Context(), "a/x", 50_000, length)
			require.NoError(t, err)
			got, err := io.ReadAll(r)
			require.NoError(t, err)
			require.NoError(t, r.Close())
			end := len(want)
			if length >= 0 {
				end = 50_000 + int(length)
			}
			assert.True(t, bytes.Equal(want[50_000:end], got), "%d bytes", len(got))
			assert.Greater(t, proxy.Calls()-before, 2)
		}
		r, err := b.Open(t.Context(), "a/x", 0, -1)
		require.NoError(t, err)
		_, err = io.ReadFull(r, make([]byte, 100_000))
		require.NoError(t, err)
		proxy.Set(buckettest.Faults{Away: true})
		_, err = io.ReadAll(r)
		require.Error(t, err)
		assert.Contains(t, err.Error(), "read a/x in "+b.String())
		require.NoError(t, r.Close())
	})
}

// An object whose creation was answered to nobody is there.
func TestLostAnswerOfCreate(t *testing.T) {
	broken(t, bucket.Options{}, func(t *testing.T, b bucket.Bucket, proxy *buckettest.Proxy) {
		require.NoError(t, b.Create(t.Context(), "a/before", strings.NewReader("x"), 1))
		proxy.Set(buckettest.Faults{LoseAnswers: true})
		require.Error(t, b.Create(t.Context(), "a/x", strings.NewReader("content"), 7))
		proxy.Set(buckettest.Faults{})
		require.ErrorIs(t, b.Create(t.Context(), "a/x", strings.NewReader("content"), 7), bucket.ErrExists)
		object, err := b.Stat(t.Context(), "a/x")
		require.NoError(t, err)
		assert.EqualValues(t, 7, object.Size)
	})
}

// What is away is asked again, and what refuses is not.
func TestAttempts(t *testing.T) {
	broken(t, bucket.Options{Attempts: 3}, func(t *testing.T, b bucket.Bucket, proxy *buckettest.Proxy) {
		for _, test := range []struct {
			faults buckettest.Faults
			want   int
		}{{buckettest.Faults{Away: true}, 3}, {buckettest.Faults{Refuse: true}, 1}} {
			proxy.Set(test.faults)
			for what, call := range map[string]func() error{
				"create": func() error { return b.Create(t.Context(), "a/x", strings.NewReader("x"), 1) },
				"delete": func() error { return b.Delete(t.Context(), "a/x") },
				"read":   func() error { _, err := b.Open(t.Context(), "a/x", 0, -1); return err },
				"list": func() (failed error) {
					for _, err := range b.List(t.Context(), "a/x") {
						failed = err
					}
					return failed
				},
				"stat": func() error { _, err := b.Stat(t.Context(), "a/x"); return err },
			} {
				before := proxy.Calls()
				err := call()
				require.Error(t, err, what)
				require.NotErrorIs(t, err, bucket.ErrNotFound)
				require.NotErrorIs(t, err, bucket.ErrExists)
				assert.Contains(t, err.Error(), what+" a/x")
				assert.Contains(t, err.Error(), "in "+b.String()+": ")
				assert.NotContains(t, err.Error(), buckettest.Secret)
				if !test.faults.Away {
					assert.Contains(t, err.Error(), "403", what)
				}
				// The standard library repeats by itself, on a new connection, what it may.
				assert.GreaterOrEqual(t, proxy.Calls()-before, test.want, what)
				assert.LessOrEqual(t, proxy.Calls()-before, 2*test.want, what)
			}
		}
	})
}

// A provider that says nothing is given up, and so is one whose bytes stop coming.
func TestStalled(t *testing.T) {
	broken(t, bucket.Options{Timeout: 200 * time.Millisecond, Attempts: 1}, func(t *testing.T, b bucket.Bucket, proxy *buckettest.Proxy) {
		proxy.Set(buckettest.Faults{Delay: time.Hour})
		_, err := b.Stat(t.Context(), "a/x")
		require.ErrorContains(t, err, "nothing moved for 200ms")
		err = b.Create(t.Context(), "a/x", strings.NewReader("x"), 1)
		require.ErrorContains(t, err, "nothing moved for 200ms")
	})
}

// A caller that ends waits for nobody.
func TestContextEndsAttempts(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	require.NoError(t, err)
	defer listener.Close()
	for _, scheme := range []string{"s3", "gs"} {
		b, err := bucket.Open(t.Context(), scheme+"://test?insecure=true&endpoint="+listener.Addr().String(), bucket.Options{Timeout: time.Hour})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err = b.Stat(ctx, "a/x")
		require.Error(t, err)
		require.Error(t, ctx.Err())
		cancel()
		require.NoError(t, b.Close())
	}
}

// A bucket that is not there is no bucket without objects.
func TestNoBucket(t *testing.T) {
	broken(t, bucket.Options{Attempts: 1}, func(t *testing.T, _ bucket.Bucket, proxy *buckettest.Proxy) {
		scheme, _, _ := strings.Cut(t.Name()[len("TestNoBucket/"):], "/")
		b, err := bucket.Open(t.Context(), scheme+"://missing?insecure=true&endpoint="+proxy.Address, bucket.Options{Attempts: 1})
		require.NoError(t, err)
		defer b.Close()
		failed := false
		for _, err := range b.List(t.Context(), "") {
			require.Error(t, err)
			require.NotErrorIs(t, err, bucket.ErrNotFound)
			failed = true
		}
		assert.True(t, failed)
		err = b.Create(t.Context(), "a", strings.NewReader("x"), 1)
		require.Error(t, err)
		require.NotErrorIs(t, err, bucket.ErrNotFound)
	})
}

// A service that would write over what is there is not written to.
func TestS3WithoutConditions(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", buckettest.Secret)
	var created []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut { // and does not look at If-None-Match
			created = append(created, r.URL.Path)
		}
	}))
	defer server.Close()
	b, err := bucket.Open(t.Context(), "s3://test/prefix?insecure=true&endpoint="+server.Listener.Addr().String(), bucket.Options{})
	require.NoError(t, err)
	defer b.Close()
	err = b.Create(t.Context(), "a/x", strings.NewReader("x"), 1)
	require.ErrorContains(t, err, "does not know If-None-Match")
	assert.Equal(t, []string{"/test/prefix/.conditional", "/test/prefix/.conditional"}, created)
}
