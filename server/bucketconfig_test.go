package server

import (
	"testing"
	"time"

	"github.com/alecthomas/units"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server/archive"
)

// TestBucketConfig checks which flags of a bucket are refused, and that each refusal names
// its flag.
func TestBucketConfig(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"defaults":                  {func(*Config) {}, ""},
		"a retention as the disk's": {func(c *Config) { c.BucketRetentionTime, c.BucketRetentionSize = time.Hour, units.GiB }, ""},
		"a disk without bounds":     {func(c *Config) { c.BucketRetentionSize, c.RetentionSize = units.GiB, 0 }, ""},
		"shorter than the disk's":   {func(c *Config) { c.BucketRetentionTime = time.Hour - 1 }, "--bucket.retention.time"},
		"a disk that keeps all":     {func(c *Config) { c.BucketRetentionTime, c.RetentionTime = time.Hour, 0 }, "--bucket.retention.time"},
		"smaller than the disk's":   {func(c *Config) { c.BucketRetentionSize = units.GiB - 1 }, "--bucket.retention.size"},
		"negative":                  {func(c *Config) { c.BucketRetentionTime = -1 }, "--bucket.retention.time"},
		"no interval":               {func(c *Config) { c.BucketInterval = 0 }, flagBucketInterval},
		"too little memory":         {func(c *Config) { c.BucketBytes = archive.LeastBytes - 1 }, archive.FlagBytes},
		"no bucket's name":          {func(c *Config) { c.BucketURL = "ftp://x" }, "--bucket"},
	} {
		t.Run(name, func(t *testing.T) {
			config := DefaultConfig()
			config.BucketURL = "s3://b"
			config.RetentionTime, config.RetentionSize = time.Hour, units.GiB
			c.change(&config)
			err := config.check()
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			var mistake *usage.Error
			require.ErrorAs(t, err, &mistake)
			require.ErrorContains(t, err, c.want)
		})
	}
}
