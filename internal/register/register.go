// Package register shares the metrics that several parts of a process have in common.
//
// It guarantees that what is counted is shown: all that register one metric with one
// registerer get the same collector. A name that another metric has already is a bug,
// and panics as in [prometheus.Registry.MustRegister].
package register

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Shared registers a collector, and returns it or the one that was registered as the
// same before. With a nil Registerer it is counted and not shown.
func Shared[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if err == nil {
		return c
	}
	var have prometheus.AlreadyRegisteredError
	if errors.As(err, &have) {
		if before, ok := have.ExistingCollector.(C); ok {
			return before
		}
	}
	panic(fmt.Errorf("register a %T: %w", c, err))
}
