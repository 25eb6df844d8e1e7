package torture

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
	"github.com/promgrpc/exporter/internal/buckettest"
)

// archive is a real bucket behind a proxy. A nil one has nothing.
type archive struct {
	*harness.Bucket
	url   *url.URL // by the proxy
	proxy *buckettest.Proxy
}

func newArchive(t testing.TB) *archive {
	t.Helper()
	b := harness.StartBucket(t)
	u, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	a := &archive{Bucket: b, proxy: buckettest.StartProxy(t, query.Get("endpoint"))}
	query.Set("endpoint", a.proxy.Address)
	u.RawQuery = query.Encode()
	a.url = u
	return a
}

// flags and environment of a server that uses it. Each group has a folder of its own there.
func (a *archive) flags(group string) []string {
	if a == nil {
		return nil
	}
	return []string{"--bucket=" + a.url.JoinPath(group).String(), "--bucket.interval=1s"}
}

func (a *archive) env() []string {
	if a == nil {
		return nil
	}
	return a.Env
}

// read what the bucket has of a file of a store: the sealed segment, or its pieces, which
// continue each other.
func (a *archive) read(name string) (content []byte, sealed bool) {
	if a == nil {
		return nil, false
	}
	path := filepath.Join(a.folder(filepath.Base(filepath.Dir(name))), filepath.Base(name))
	if content, err := os.ReadFile(path); err == nil {
		return content, true
	}
	pieces, _ := filepath.Glob(path + ".part/*")
	slices.Sort(pieces)
	for _, piece := range pieces {
		more, err := os.ReadFile(piece)
		if err != nil || filepath.Base(piece) != pieceName(len(content)) {
			break
		}
		content = append(content, more...)
	}
	return content, false
}

// folder of a log, whose group may have one of its own.
func (a *archive) folder(log string) string {
	if of, _ := filepath.Glob(filepath.Join(a.Folder, "*", log)); len(of) > 0 {
		return of[0]
	}
	return filepath.Join(a.Folder, log)
}

// pieceName of the piece that begins at an offset.
func pieceName(offset int) string { return fmt.Sprintf("%020d", offset) }

// has says whether the bucket has so many bytes of a file.
func (a *archive) has(name string, size int64) bool {
	content, _ := a.read(name)
	return int64(len(content)) >= size
}

// fail for a while.
func (r *rig) bucketFails(f fault) (func(), bool) {
	r.say("%s", f.kind)
	r.bucket.proxy.Set(map[kind]buckettest.Faults{
		bucketAway:        {Away: true},
		bucketSlow:        {Delay: time.Duration(f.amount%2000) * time.Millisecond},
		bucketRefuses:     {Refuse: true},
		bucketAnswersLost: {LoseAnswers: true},
	}[f.kind])
	return func() {
		r.say("the bucket is well")
		r.bucket.proxy.Set(buckettest.Faults{})
	}, true
}

// compareBucket requires the bucket to have the same bytes as the servers of a group, of what
// they had by then.
func (r *rig) compareBucket(g *group) {
	if r.bucket == nil {
		return
	}
	want := g.there()
	r.until(time.Now().Add(drainTime), "bucket", func() bool {
		r.watch()
		for name, size := range want {
			if !r.bucket.has(name, size) {
				return false
			}
		}
		return true
	})
	for name, size := range want {
		got, _ := r.bucket.read(name)
		if int64(len(got)) < size {
			r.t.Errorf("bucket: %s has %d bytes, and not %d", name, len(got), size)
		}
		for _, u := range g.servers {
			has, err := os.ReadFile(filepath.Join(u.store, name))
			if err != nil {
				continue
			}
			if !bytes.HasPrefix(has, got) && !bytes.HasPrefix(got, has) {
				r.t.Errorf("bucket: %s is not that of %s: %d and %d bytes", name, u.Name, len(got), len(has))
			}
		}
	}
}
