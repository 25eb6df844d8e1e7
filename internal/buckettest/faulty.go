package buckettest

import (
	"context"
	"io"
	"iter"

	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/bucket"
)

// Faulty is a bucket with faults. Its faults are seen as they are: nothing is tried again.
type Faulty struct {
	bucket.Bucket
	switchboard
}

// New returns a bucket with no faults yet.
func New(b bucket.Bucket) *Faulty { return &Faulty{Bucket: b} }

// before is what happens to a call before it gets to the bucket.
func (f *Faulty) before(ctx context.Context) (Faults, error) {
	faults := f.call()
	if faults.Delay > 0 {
		if err := backoff.Sleep(ctx, faults.Delay); err != nil {
			return faults, err
		}
	}
	switch {
	case faults.Away:
		return faults, ErrAway
	case faults.Refuse:
		return faults, ErrRefused
	}
	return faults, nil
}

// after is what comes of an answer.
func (f Faults) after(err error) error {
	if f.LoseAnswers {
		return ErrLost
	}
	return err
}

// Create may succeed, and return ErrLost.
func (f *Faulty) Create(ctx context.Context, name string, content io.ReaderAt, size int64) error {
	faults, err := f.before(ctx)
	if err != nil {
		return err
	}
	return faults.after(f.Bucket.Create(ctx, name, content, size))
}

// Open returns what may break while it is read.
func (f *Faulty) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	faults, err := f.before(ctx)
	if err != nil {
		return nil, err
	}
	r, err := f.Bucket.Open(ctx, name, offset, length)
	if err != nil || faults.CutReads == 0 {
		return r, err
	}
	return &cut{r, faults.CutReads}, nil
}

// cut breaks after so many bytes.
type cut struct {
	io.ReadCloser
	left int64
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, ErrCut
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// Stat is the bucket's.
func (f *Faulty) Stat(ctx context.Context, name string) (bucket.Object, error) {
	if _, err := f.before(ctx); err != nil {
		return bucket.Object{}, err
	}
	return f.Bucket.Stat(ctx, name)
}

// List is the bucket's.
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[bucket.Object, error] {
	return func(yield func(bucket.Object, error) bool) {
		if _, err := f.before(ctx); err != nil {
			yield(bucket.Object{}, err)
			return
		}
		f.Bucket.List(ctx, prefix)(yield)
	}
}

// Delete may succeed, and return ErrLost.
func (f *Faulty) Delete(ctx context.Context, name string) error {
	faults, err := f.before(ctx)
	if err != nil {
		return err
	}
	return faults.after(f.Bucket.Delete(ctx, name))
}
