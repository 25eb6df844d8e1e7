package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server/archive"
)

// BucketConfig says where the history is that is older than the disk.
type BucketConfig struct {
	// BucketURL of it, as [bucket.Parse] reads it. "": there is none.
	BucketURL string
	// BucketInterval at which segments that are being written are uploaded.
	BucketInterval time.Duration
	// BucketRetentionTime and BucketRetentionSize, 0 is without bound.
	BucketRetentionTime time.Duration
	BucketRetentionSize units.Base2Bytes
	// BucketBytes of memory for what is read from it.
	BucketBytes units.Base2Bytes
}

// DefaultBucketConfig returns the defaults of all flags.
func DefaultBucketConfig() BucketConfig {
	return BucketConfig{BucketInterval: 10 * time.Second, BucketBytes: 64 * units.MiB}
}

// bucketSyntax is how a bucket is named.
const bucketSyntax = "s3://BUCKET/PREFIX?endpoint=HOST&region=REGION, gs://BUCKET/PREFIX, azblob://CONTAINER/PREFIX?account=ACCOUNT, or file:///PATH"

const flagBucketInterval = "--bucket.interval"

// leastBucketInterval keeps servers from doing little else.
const leastBucketInterval = 100 * time.Millisecond

// RegisterFlags adds the flags. Their defaults are what c holds.
func (c *BucketConfig) RegisterFlags(app *kingpin.Application) {
	c.registerReading(app, "Bucket that segments are uploaded to, each once whichever server has it first, and read from when they are not on the disk any more: ")
	app.Flag(flagBucketInterval[2:], "Upload what came to the segments that are being written this often.").
		Default(c.BucketInterval.String()).DurationVar(&c.BucketInterval)
	app.Flag("bucket.retention.time", "Keep segments in the bucket for this long, but for the newest of each log. Longer than --storage.retention.time. 0 keeps all.").
		Default(c.BucketRetentionTime.String()).DurationVar(&c.BucketRetentionTime)
	app.Flag("bucket.retention.size", "Keep at most this much in the bucket, but for the newest segment of each log. No less than --storage.retention.size. 0 is without bound.").
		Default(c.BucketRetentionSize.String()).BytesVar(&c.BucketRetentionSize)
}

// registerReading adds the flags of who only reads.
func (c *BucketConfig) registerReading(app *kingpin.Application, help string) {
	app.Flag("bucket", help+bucketSyntax+". Credentials come from the environment and from files, as the providers' own tools have them.").
		PlaceHolder("URL").StringVar(&c.BucketURL)
	app.Flag(archive.FlagBytes[2:], "Most memory for what is read from the bucket, and read ahead; who reads waits when it is reached.").
		Default(c.BucketBytes.String()).BytesVar(&c.BucketBytes)
}

// check checks the flags against what the disk keeps.
func (c *BucketConfig) check(disk seglog.StorageConfig) error {
	switch {
	case c.BucketInterval < leastBucketInterval:
		return usage.Errorf("%s has to be %s or more", flagBucketInterval, leastBucketInterval)
	case c.BucketRetentionTime < 0 || c.BucketRetentionSize < 0:
		return usage.Errorf("--bucket.retention.time and --bucket.retention.size cannot be negative")
	case c.BucketBytes < archive.LeastBytes:
		return usage.Errorf("%s is %s, it has to be %s or more", archive.FlagBytes, c.BucketBytes, archive.LeastBytes)
	case c.BucketURL == "":
		return nil
	case c.BucketRetentionTime > 0 && (disk.RetentionTime == 0 || c.BucketRetentionTime < disk.RetentionTime):
		return usage.Errorf("--bucket.retention.time is %s, less than the disk keeps by --storage.retention.time", c.BucketRetentionTime)
	case c.BucketRetentionSize > 0 && c.BucketRetentionSize < disk.RetentionSize:
		return usage.Errorf("--bucket.retention.size is %s, less than the disk keeps by --storage.retention.size", c.BucketRetentionSize)
	}
	location, err := bucket.Parse(c.BucketURL)
	if err != nil {
		return usage.Errorf("--bucket: %w", err)
	}
	if location.Scheme == "file" && (sameFolder(location.Bucket, disk.StoragePath) || seglog.IsStore(location.Bucket)) {
		return usage.Errorf("--bucket: %s is a storage folder: what is on the disk would count as being in the bucket, too", location.Bucket)
	}
	return nil
}

// sameFolder says whether two paths are of one folder, which need not be there.
func sameFolder(a, b string) bool {
	one, err := os.Stat(a)
	if err == nil {
		other, err := os.Stat(b)
		return err == nil && os.SameFile(one, other)
	}
	a, errA := filepath.Abs(a)
	b, errB := filepath.Abs(b)
	return errA == nil && errB == nil && a == b
}

// openArchive opens the bucket, if there is one. It need not be there now.
func (s *Server) openArchive(logger *slog.Logger) error {
	c := s.config
	if c.BucketURL == "" {
		return nil
	}
	readOnly := c.Upstream != ""
	b, err := bucket.Open(context.Background(), c.BucketURL, bucket.Options{ReadOnly: readOnly})
	if err != nil {
		return usage.Errorf("--bucket: %w", err)
	}
	s.archive = archive.New(archive.Config{
		Interval: c.BucketInterval, RetentionTime: c.BucketRetentionTime, RetentionSize: c.BucketRetentionSize,
		Bytes: c.BucketBytes, ReadOnly: readOnly, Folder: c.StoragePath,
	}, b, logger)
	return nil
}

// errFilling is why a server is not ready that takes from the bucket what it lacks.
var errFilling = errors.New("what the disk lacks is being taken from the bucket")

// filled waits until the server has what it takes from the bucket before it serves, or ctx
// ends.
func (s *Server) filled(ctx context.Context) {
	if s.archive == nil {
		return
	}
	select {
	case <-s.archive.Filled():
	case <-ctx.Done():
	}
}

// begun is from when on forwarders are expected to come.
func (s *Server) begun() time.Time {
	if s.archive == nil {
		return s.started
	}
	if at := s.archive.FilledAt(); at.After(s.started) {
		return at
	}
	return s.started
}

// bucketStatus is how the server gets on with its bucket, nil if it has none.
func (s *Server) bucketStatus() *metricsv1.BucketStatus {
	if s.archive == nil {
		return nil
	}
	return s.archive.Status()
}
