package promql

import (
	"runtime"
	"time"

	"github.com/alecthomas/units"
)

// Config bounds evaluations.
type Config struct {
	// Samples that one evaluation may hold at a time, as Prometheus counts them.
	Samples int64
	// Time that one evaluation may take.
	Time time.Duration
	// Queries that are evaluated at a time.
	Queries int
	// Operations is how many operators, brackets and calls an expression has.
	Operations int
	// Bytes that all evaluations together may hold.
	Bytes units.Base2Bytes
	// Lookback is how old a sample may be to count as the value of its series.
	Lookback time.Duration
}

// DefaultConfig has the limits that Prometheus has.
func DefaultConfig() Config {
	return Config{
		Samples:    50_000_000,
		Time:       2 * time.Minute,
		Queries:    max(2, runtime.GOMAXPROCS(0)),
		Bytes:      1 * units.GiB,
		Operations: 1000,
		Lookback:   5 * time.Minute,
	}
}

// The flags of these.
const (
	FlagSamples    = "--limit.query-samples"
	FlagTime       = "--limit.query-time"
	FlagQueries    = "--limit.queries"
	FlagOperations = "--limit.query-operations"
	FlagBytes      = "--limit.query-bytes"
	FlagLookback   = "--query.lookback-delta"
)
