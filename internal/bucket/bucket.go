// Package bucket keeps objects: in S3 and what is compatible, in GCS, in Azure, or in
// a folder.
//
// Guaranteed: an object is whole or is not there, and once created it is never
// changed: of two who create it at the same time, one gets [ErrExists]. An answer may be
// lost: after any other error nobody knows whether an object was created.
//
// Not guaranteed: that an object is seen in a list at the instant at which it is created.
package bucket

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// ErrExists says that an object cannot be created, since it is there.
var ErrExists = errors.New("object exists")

// ErrNotFound says that an object is not there.
var ErrNotFound = errors.New("object does not exist")

// ErrRefused says that the same request would be refused again at once: of access, or for
// an object that is kept where it cannot be read. Of one object it says nothing of others.
var ErrRefused = errors.New("refused")

// Object is what a list says of an object.
type Object struct {
	// Name with its path, parted by slashes; without the prefix of the bucket's URL.
	Name string
	// Size in bytes.
	Size int64
	// Modified is when it was created, by the bucket's clock.
	Modified time.Time
}

// Bucket is a place for objects. Its methods may be called by any number of goroutines.
// Errors but ErrExists and ErrNotFound may pass.
type Bucket interface {
	// String is its URL, without what is secret.
	String() string
	// Create makes an object of size bytes, which may be read several times, or
	// returns ErrExists.
	Create(ctx context.Context, name string, content io.ReaderAt, size int64) error
	// Open reads length bytes of an object from an offset; the caller closes it. Fewer
	// come only where the object ends. A length below zero is all that there is.
	Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
	// Stat returns what a list would say of an object.
	Stat(ctx context.Context, name string) (Object, error)
	// List yields the objects whose names begin with a prefix, sorted by name, and ends
	// with the first error.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Delete removes an object. That it is not there is no error.
	Delete(ctx context.Context, name string) error
	// Close frees what the bucket holds.
	Close() error
}
