package seglog

import (
	"errors"
	"log/slog"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/promgrpc/exporter/internal/usage"
)

// StorageConfig is the configuration of a program's store.
type StorageConfig struct {
	// StoragePath is the folder of the store.
	StoragePath string
	// Sync is always, interval or never. A mirror forces blocks to the disk under none of
	// them, but where it is asked to: after a power cut it gets again what it lost.
	Sync string
	// RetentionTime and RetentionSize, 0 is without bound.
	RetentionTime time.Duration
	RetentionSize units.Base2Bytes
	// Remote has segments that are not on the disk. Nil: none.
	Remote Remote
}

// DefaultStorageConfig returns the defaults of [DefaultOptions], at a path.
func DefaultStorageConfig(path string) StorageConfig {
	o := DefaultOptions()
	return StorageConfig{
		StoragePath:   path,
		Sync:          o.Sync.String(),
		RetentionTime: o.RetentionTime,
		RetentionSize: units.Base2Bytes(o.RetentionSize),
	}
}

// RegisterFlags adds the flags --storage.*, which default to what c holds.
// The help of --storage.path says what the folder is for.
func (c *StorageConfig) RegisterFlags(app *kingpin.Application, pathHelp string) {
	app.Flag("storage.path", pathHelp).
		Default(c.StoragePath).StringVar(&c.StoragePath)
	app.Flag("storage.sync", "When a block counts as durable: always (after an fsync), interval (when written, with an fsync once a second) or never (when written). What a server loses in a power cut is sent again by the forwarder.").
		Default(c.Sync).EnumVar(&c.Sync, syncPolicies...)
	app.Flag("storage.retention.time", "Keep segments for this long, and logs that nobody writes any more. 0 keeps all.").
		Default(c.RetentionTime.String()).DurationVar(&c.RetentionTime)
	app.Flag("storage.retention.size", "Keep at most this much, but for the newest segment of each log, which always stays. 0 is without bound.").
		Default(c.RetentionSize.String()).BytesVar(&c.RetentionSize)
}

// Open opens the configured store. segments is nil for a program that only mirrors
// logs. What is wrong with the flags is a [usage.Error].
func (c StorageConfig) Open(segments *SegmentConfig, logger *slog.Logger, reg prometheus.Registerer) (*Store, error) {
	o, err := c.options(segments)
	if err != nil {
		return nil, &usage.Error{Err: err}
	}
	o.Logger, o.Registerer = logger, reg
	return OpenStore(c.StoragePath, o)
}

func (c StorageConfig) options(segments *SegmentConfig) (Options, error) {
	o := DefaultOptions()
	if c.StoragePath == "" {
		return o, errors.New("--storage.path is empty")
	}
	if c.RetentionTime < 0 || c.RetentionSize < 0 {
		return o, errors.New("--storage.retention.time and --storage.retention.size cannot be negative")
	}
	var err error
	if o.Sync, err = parseSyncPolicy(c.Sync); err != nil {
		return o, err
	}
	o.RetentionTime, o.RetentionSize, o.Remote = c.RetentionTime, int64(c.RetentionSize), c.Remote
	if segments != nil {
		err = segments.apply(&o)
	}
	return o, err
}

// SegmentConfig says when a writer ends a segment. A mirror ends its segments where the
// writer did.
type SegmentConfig struct {
	// SegmentDuration and SegmentSize end a segment, whichever comes first.
	SegmentDuration time.Duration
	SegmentSize     units.Base2Bytes
	// ShowFirst is that of [Options]. It has no flag.
	ShowFirst bool
}

// DefaultSegmentConfig returns the defaults of [DefaultOptions].
func DefaultSegmentConfig() SegmentConfig {
	o := DefaultOptions()
	return SegmentConfig{SegmentDuration: o.SegmentDuration, SegmentSize: units.Base2Bytes(o.SegmentSize)}
}

// RegisterFlags adds the flags --storage.segment.*, which default to what c
// holds.
func (c *SegmentConfig) RegisterFlags(app *kingpin.Application) {
	app.Flag("storage.segment.duration", "Start a new segment after this long, and after a quarter of --storage.retention.time at the latest.").
		Default(c.SegmentDuration.String()).DurationVar(&c.SegmentDuration)
	app.Flag("storage.segment.size", "Start a new segment when one has reached this size, or a quarter of --storage.retention.size.").
		Default(c.SegmentSize.String()).BytesVar(&c.SegmentSize)
}

// segmentsKept is how many segments fit into the retention at least. Since whole
// segments are deleted, it could not be kept with larger ones.
const segmentsKept = 4

// apply sets the options, which have the retention already.
func (c SegmentConfig) apply(o *Options) error {
	if c.SegmentDuration <= 0 || c.SegmentSize <= 0 {
		return errors.New("--storage.segment.duration and --storage.segment.size have to be above zero")
	}
	o.SegmentDuration, o.SegmentSize, o.ShowFirst = c.SegmentDuration, int64(c.SegmentSize), c.ShowFirst
	if o.RetentionTime > 0 {
		o.SegmentDuration = min(o.SegmentDuration, max(o.RetentionTime/segmentsKept, 1))
	}
	if o.RetentionSize > 0 {
		o.SegmentSize = min(o.SegmentSize, max(o.RetentionSize/segmentsKept, 1))
	}
	return nil
}
