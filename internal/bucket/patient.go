package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"time"

	"github.com/promgrpc/exporter/internal/backoff"
)

// store is a provider. Each method makes one attempt, with keys: names with the
// prefix. Its errors are ErrExists, ErrNotFound, a *refusal, or may pass.
type store interface {
	create(ctx context.Context, key string, content io.ReaderAt, size int64) error
	open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	stat(ctx context.Context, key string) (Object, error)
	// page lists objects from where next says, which is empty at first and at the end.
	page(ctx context.Context, prefix, next string) (objects []Object, then string, err error)
	remove(ctx context.Context, key string) error
	close()
}

// refusal is an error that the same request would get again at once, ErrRefused.
type refusal struct{ error }

func (r *refusal) Unwrap() []error { return []error{r.error, ErrRefused} }

// readInto reads an object's content once before it is sent: for its checksum, and
// since what breaks after a part was sent may be taken for all of it.
func readInto(sum io.Writer, content io.ReaderAt, size int64) error {
	n, err := io.Copy(sum, io.NewSectionReader(content, 0, size))
	if err == nil && n != size {
		err = fmt.Errorf("%d of its %d bytes could be read: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return &refusal{err}
	}
	return nil
}

// pauses between attempts.
const (
	leastPause = 250 * time.Millisecond
	mostPause  = 5 * time.Second
)

// patient is a Bucket that asks a store again.
type patient struct {
	store    store
	location Location
	options  Options
}

func (p *patient) String() string { return p.location.String() }

func (p *patient) Close() error {
	p.store.close()
	return nil
}

// again calls f until it succeeds or cannot.
func (p *patient) again(ctx context.Context, what, name string, f func() error) error {
	for failures := 0; ; failures++ {
		err := f()
		if err == nil {
			return nil
		}
		if lasts(err) || failures+1 >= p.options.Attempts || backoff.Sleep(ctx, backoff.Pause(leastPause, mostPause, failures)) != nil {
			return p.failed(what, name, err)
		}
	}
}

func lasts(err error) bool {
	return errors.Is(err, ErrExists) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrRefused)
}

// failed says what could not be done, and where.
func (p *patient) failed(what, name string, err error) error {
	return fmt.Errorf("%s %s in %s: %w", what, name, p.location, withoutURL(err))
}

// withoutURL is the reason of a request's failure: its URL may have a signature in it.
func withoutURL(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}

func (p *patient) Create(ctx context.Context, name string, content io.ReaderAt, size int64) error {
	if err := CheckName(name); err != nil {
		return err
	}
	return p.again(ctx, "create", name, func() error {
		return bucketThere(p.store.create(ctx, p.location.key(name), content, size))
	})
}

// bucketThere is the error of a request that names no object that has to be there: what
// was not found is the bucket.
func bucketThere(err error) error {
	if errors.Is(err, ErrNotFound) {
		return &refusal{errors.New("the bucket does not exist")}
	}
	return err
}

func (p *patient) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := checkRange(name, offset); err != nil {
		return nil, err
	}
	if length == 0 {
		if _, err := p.Stat(ctx, name); err != nil {
			return nil, err
		}
		return empty, nil
	}
	r := &reader{ctx: ctx, bucket: p, name: name, offset: offset, length: length}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

func checkRange(name string, offset int64) error {
	if offset < 0 {
		return fmt.Errorf("%s is read from %d on", name, offset)
	}
	return CheckName(name)
}

func (p *patient) Stat(ctx context.Context, name string) (object Object, err error) {
	if err := CheckName(name); err != nil {
		return Object{}, err
	}
	err = p.again(ctx, "stat", name, func() error {
		object, err = p.store.stat(ctx, p.location.key(name))
		return err
	})
	object.Name = name
	return object, err
}

func (p *patient) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for next, first := "", true; first || next != ""; first = false {
			var objects []Object
			err := p.again(ctx, "list", prefix+"*", func() (err error) {
				var then string
				objects, then, err = p.store.page(ctx, p.location.key(prefix), next)
				if err == nil {
					next = then
				}
				return bucketThere(err)
			})
			if err != nil {
				yield(Object{}, err)
				return
			}
			for _, object := range objects {
				object.Name = p.location.name(object.Name)
				// What others keep there is not ours to see.
				if CheckName(object.Name) == nil && !yield(object, nil) {
					return
				}
			}
		}
	}
}

func (p *patient) Delete(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	err := p.again(ctx, "delete", name, func() error { return p.store.remove(ctx, p.location.key(name)) })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
