package archive

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/buckettest"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/seglog"
)

// quick is the configuration of servers that list often.
func quick() Config { return Config{Interval: 10 * time.Millisecond, Bytes: LeastBytes} }

// lagging is a bucket whose lists say what was there some lists before.
type lagging struct {
	bucket.Bucket
	by int

	mu   sync.Mutex
	past map[string][][]bucket.Object // by prefix, the oldest first
}

// List implements [bucket.Bucket].
func (l *lagging) List(ctx context.Context, prefix string) iter.Seq2[bucket.Object, error] {
	return func(yield func(bucket.Object, error) bool) {
		var now []bucket.Object
		for o, err := range l.Bucket.List(ctx, prefix) {
			if err != nil {
				yield(bucket.Object{}, err)
				return
			}
			now = append(now, o)
		}
		for _, o := range l.shift(prefix, now) {
			if !yield(o, nil) {
				return
			}
		}
	}
}

// shift notes what there is, and returns what there was.
func (l *lagging) shift(prefix string, now []bucket.Object) []bucket.Object {
	l.mu.Lock()
	defer l.mu.Unlock()
	past := append(l.past[prefix], now)
	l.past[prefix] = past[max(0, len(past)-1-l.by):]
	if len(past) <= l.by {
		return nil
	}
	return past[0]
}

func (l *lagging) lists() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.past[""])
}

// TestListThatLags checks that all comes to a bucket whose lists say what was there before,
// and that nothing is taken for another's or for gone.
func TestListThatLags(t *testing.T) {
	for _, by := range []int{1, 3} {
		t.Run(fmt.Sprint(by), func(t *testing.T) {
			b, f := newBucket(t), newForwarder(t)
			lists := func() *lagging { return &lagging{Bucket: b, by: by, past: map[string][][]bucket.Object{}} }
			one, two := newServer(t, lists(), quick()), newServer(t, lists(), quick())
			for range 6 {
				f.write(4)
				one.feed(f)
				two.feed(f)
				time.Sleep(10 * quick().Interval)
				f.rotate()
			}
			f.write(1)
			one.feed(f)
			two.feed(f)
			for _, s := range []*server{one, two} {
				s.eventually(func() bool { return has(t, b, f) && s.replicas.Get(f.id()).Archived() == f.last() }, "all of it comes")
				require.Empty(t, s.diverged())
			}
			two.stop()
			l := lists()
			two = openServer(t, two.dir, l, quick(), seglog.Options{})
			two.eventually(func() bool { return l.lists() > by && two.replicas.Get(f.id()).Archived() == f.last() }, "it is known after a restart")
			require.Empty(t, two.diverged())
			require.True(t, has(t, b, f))
		})
	}
}

// TestObjectsDeletedByOthers checks that what somebody has deleted comes again from a
// server that has it on its disk, and is not kept any more for one that does not.
func TestObjectsDeletedByOthers(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	one := newServer(t, b, quick())
	for range 3 {
		f.write(4)
		f.rotate()
	}
	f.write(1)
	one.feed(f)
	one.eventually(func() bool { return has(t, b, f) && one.pending() == 0 }, "it comes")
	two := newServer(t, b, quick())
	<-two.Filled()
	middle := f.writer.Log().Segments()[1]
	object := layout.Object{Log: f.id(), Segment: middle.Name}.Name()
	r, err := two.OpenSegment(f.id(), middle.Name)
	require.NoError(t, err)
	defer r.Close()

	one.stop()
	require.NoError(t, b.Delete(t.Context(), object))
	_, err = r.ReadAt(make([]byte, 1), 0)
	require.ErrorIs(t, err, seglog.ErrRemoteGone)
	_, err = two.OpenSegment(f.id(), middle.Name)
	require.ErrorIs(t, err, seglog.ErrRemoteGone)
	_, ok, err := two.replicas.Get(f.id()).Log.Checksum(t.Context(), middle.FirstSequence)
	require.NoError(t, err)
	require.False(t, ok, "a gap, and no damage")

	one = openServer(t, one.dir, b, quick(), seglog.Options{})
	one.eventually(func() bool { return has(t, b, f) }, "it comes again after a restart")
	require.NoError(t, b.Delete(t.Context(), object))
	one.eventually(func() bool { return has(t, b, f) }, "it comes again")
	two.eventually(func() bool {
		_, ok, err := two.replicas.Get(f.id()).Log.Checksum(t.Context(), middle.FirstSequence)
		return ok && err == nil
	}, "it is read again")
	require.Empty(t, one.diverged())
}

// TestSecondDeployment checks that two deployments under one prefix disturb neither's logs,
// and that both say it.
func TestSecondDeployment(t *testing.T) {
	b := newBucket(t)
	f, g := newForwarder(t), newForwarder(t)
	one, two := newServer(t, b, quick()), newServer(t, b, quick())
	<-one.Filled()
	<-two.Filled()
	said := func(s *server, of *forwarder) int {
		n := 0
		for line := range strings.Lines(s.logs.String()) {
			if strings.Contains(line, "another deployment") && strings.Contains(line, of.id().String()) {
				n++
			}
		}
		return n
	}
	deadline := time.Now().Add(patience)
	for (said(one, g) == 0 || said(two, f) == 0) && time.Now().Before(deadline) {
		f.write(1)
		one.feed(f)
		g.write(1)
		two.feed(g)
		time.Sleep(10 * quick().Interval)
	}
	require.Equal(t, 1, said(one, g))
	require.Equal(t, 1, said(two, f))
	require.Zero(t, said(one, f)+said(two, g), "not of its own")
	one.eventually(func() bool { return has(t, b, f) && has(t, b, g) }, "both come whole")
	require.Empty(t, one.diverged())
	require.Empty(t, two.diverged())
	for s, of := range map[*server]*forwarder{one: f, two: g} {
		require.Len(t, s.replicas.All(), 1)
		require.Equal(t, of.id(), s.replicas.All()[0].ID)
	}
}

// TestDamagedOnTheDisk checks that a server does not upload a segment that is damaged on
// its disk, says so once and brings the rest, and that another one brings it.
func TestDamagedOnTheDisk(t *testing.T) {
	b, f := newBucket(t), newForwarder(t)
	b.Set(buckettest.Faults{Away: true})
	one := newServer(t, b, quick())
	for range 3 {
		f.write(4)
		f.rotate()
	}
	f.write(1)
	one.feed(f)
	segments := f.writer.Log().Segments()
	damaged := segments[1].Name
	path := filepath.Join(one.dir, f.id().String(), damaged)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[len(data)/2] ^= 0xff
	require.NoError(t, os.WriteFile(path, data, 0o600))

	b.Set(buckettest.Faults{})
	has1 := func(name string) bool {
		return objects(t, b)[layout.Object{Log: f.id(), Segment: name}.Name()] > 0
	}
	one.eventually(func() bool { return has1(segments[0].Name) && has1(segments[2].Name) }, "the others come")
	require.Equal(t, 1, strings.Count(one.logs.String(), "is damaged, and not uploaded"))
	for name := range objects(t, b) {
		require.NotContains(t, name, damaged)
	}
	require.Equal(t, segments[0].LastSequence, one.replicas.Get(f.id()).Archived(), "there is a hole")

	two := newServer(t, b, quick())
	two.feed(f)
	two.eventually(func() bool { return has(t, b, f) }, "another one brings it")
}
