package schedule

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Start is the time (ms) of a request from which on steps are wanted, and End that up to
// which they are. Both have to be within the years 1 and 9999.
func Start(field string, t *timestamppb.Timestamp) (ms int64, err error) {
	if err := t.CheckValid(); err != nil {
		return 0, fmt.Errorf("%s: %w", field, err)
	}
	return t.AsTime().Add(time.Millisecond - 1).UnixMilli(), nil
}

// End is as Start.
func End(field string, t *timestamppb.Timestamp) (ms int64, err error) {
	if err := t.CheckValid(); err != nil {
		return 0, fmt.Errorf("%s: %w", field, err)
	}
	return t.AsTime().UnixMilli(), nil
}

// Duration is one of a request, which has to be of whole milliseconds, as samples have.
func Duration(field string, d *durationpb.Duration, unset time.Duration) (time.Duration, error) {
	if d == nil {
		return unset, nil
	}
	if d.AsDuration()%time.Millisecond != 0 {
		return 0, fmt.Errorf("%s: %v is not of whole milliseconds", field, d.AsDuration())
	}
	return d.AsDuration(), nil
}
