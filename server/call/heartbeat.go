package call

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
)

// defaultHeartbeat is what an unset heartbeat_interval means, in any call.
const defaultHeartbeat = 10 * time.Second

// HeartbeatInterval is what a request says of it.
func HeartbeatInterval(d *durationpb.Duration) time.Duration {
	if d == nil {
		return defaultHeartbeat
	}
	return d.AsDuration()
}
