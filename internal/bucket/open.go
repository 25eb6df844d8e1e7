package bucket

import (
	"context"
	"fmt"
	"time"
)

// Options are how patient a bucket is. The zero value has the defaults.
type Options struct {
	// Timeout is how long a request may take without any progress.
	Timeout time.Duration
	// Attempts is how often a request is made at most, if it fails for a reason that
	// may pass.
	Attempts int
	// ReadOnly is for who only reads: a folder is not made.
	ReadOnly bool
}

const (
	defaultTimeout  = 30 * time.Second
	defaultAttempts = 4
)

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Attempts <= 0 {
		o.Attempts = defaultAttempts
	}
	return o
}

// Open returns the bucket at a URL, see [Parse]. It asks nobody whether the bucket is
// there: that may be away now and come back. Credentials come from the environment, as the
// providers' own tools have them.
func Open(ctx context.Context, url string, options Options) (Bucket, error) {
	location, err := Parse(url)
	if err != nil {
		return nil, err
	}
	options = options.withDefaults()
	if location.Scheme == "file" {
		return openFolder(location.Bucket, options)
	}
	store, err := openStore(ctx, location, options)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", location, err)
	}
	return &patient{store: store, location: location, options: options}, nil
}

func openStore(ctx context.Context, location Location, options Options) (store, error) {
	switch location.Scheme {
	case "s3":
		return openS3(location, options)
	case "gs":
		return openGCS(ctx, location, options), nil
	default:
		return openAzure(ctx, location, options)
	}
}
