package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/promgrpc/exporter/clients/cli/archived"
	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/internal/usage"
)

// bucketHelp is what the URL of a bucket may be.
const bucketHelp = "s3://BUCKET/PREFIX?endpoint=HOST&region=R&insecure=true, gs://BUCKET/PREFIX, azblob://CONTAINER/PREFIX?account=A, or a folder. Credentials come from the environment variables and files of the provider's own tools."

// openBucket opens a bucket for reading.
func openBucket(ctx context.Context, url string) (bucket.Bucket, error) {
	b, err := bucket.Open(ctx, url, bucket.Options{ReadOnly: true})
	if err != nil {
		return nil, usage.Errorf("--bucket: %w", err)
	}
	return b, nil
}

// segmentFile is the bytes of a segment, in a file or in a bucket.
type segmentFile struct {
	io.ReaderAt
	size  int64
	close func() error
}

// openSegment opens a segment by the path of a file, or by the URL of an object.
func openSegment(ctx context.Context, name string) (*segmentFile, error) {
	scheme, rest, isURL := strings.Cut(name, "://")
	if isURL && scheme != "file" {
		return openObject(ctx, name)
	}
	if isURL {
		name = rest
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &segmentFile{f, info.Size(), f.Close}, nil
}

// openObject opens a segment by its URL in a bucket. One that is in pieces is read as
// one file.
func openObject(ctx context.Context, url string) (*segmentFile, error) {
	location, err := bucket.Parse(url)
	if err != nil {
		return nil, usage.Errorf("%w", err)
	}
	parts := strings.Split(location.Prefix, "/")
	n := max(len(parts)-2, 0)
	o, ok := layout.ParseName(path.Join(parts[n:]...))
	if !ok || o.Piece {
		return nil, usage.Errorf("%s: the URL of a segment ends with its log's id and its name", location)
	}
	location.Prefix = path.Join(parts[:n]...)
	b, err := bucket.Open(ctx, location.String(), bucket.Options{ReadOnly: true})
	if err != nil {
		return nil, usage.Errorf("%w", err)
	}
	s, err := archived.Find(ctx, b, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s in %s: %w", o.Name(), b, err), b.Close())
	}
	return &segmentFile{s.Reader(ctx, b), s.Size, b.Close}, nil
}
