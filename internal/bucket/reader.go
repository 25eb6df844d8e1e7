package bucket

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/promgrpc/exporter/internal/backoff"
)

// empty is an object's content where there is none.
var empty = io.NopCloser(strings.NewReader(""))

// reader reads a range of an object, and goes on where it was when a connection breaks.
type reader struct {
	ctx    context.Context
	bucket *patient
	name   string
	// offset and length are of what is still to come; length is below zero for all.
	offset, length int64
	body           io.ReadCloser
	failures       int
}

func (r *reader) open() error {
	return r.bucket.again(r.ctx, "read", r.name, func() (err error) {
		r.body, err = r.bucket.store.open(r.ctx, r.bucket.location.key(r.name), r.offset, r.length)
		return err
	})
}

func (r *reader) Read(p []byte) (int, error) {
	if r.length == 0 {
		return 0, io.EOF
	}
	if r.length > 0 && int64(len(p)) > r.length {
		p = p[:r.length]
	}
	for {
		if r.body == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		n, err := r.body.Read(p)
		r.advance(n)
		switch {
		case err == nil || n > 0 && !errors.Is(err, io.EOF):
			// An error comes again at the next read, after what was read has been taken.
			return n, nil
		case errors.Is(err, io.EOF):
			return n, io.EOF
		}
		if err := r.broken(err); err != nil {
			return 0, err
		}
	}
}

func (r *reader) advance(n int) {
	r.offset += int64(n)
	if r.length > 0 {
		r.length -= int64(n)
	}
	if n > 0 {
		r.failures = 0
	}
}

// broken closes what broke, and waits before it is opened again; or returns the error
// if it has broken too often since anything came.
func (r *reader) broken(err error) error {
	_ = r.body.Close() // it is broken
	r.body = nil
	r.failures++
	if r.failures >= r.bucket.options.Attempts || backoff.Sleep(r.ctx, backoff.Pause(leastPause, mostPause, r.failures-1)) != nil {
		return r.bucket.failed("read", r.name, err)
	}
	return nil
}

func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
