package head

// ClockSkew is how far, in ms, a sample may be after the forwarder's clock because two
// clocks differ.
const ClockSkew = 60_000

// InFuture reports whether a sample is from the future, at a time of the forwarder's clock;
// both are in ms.
func InFuture(timestamp, clock int64) bool { return timestamp > clock+ClockSkew }

// Supersedes says whether a sample replaces the latest of its series, at a time of the
// forwarder's clock; all are in ms. A sample that is not older does. Any sample replaces
// one from the future, which would otherwise stay the latest until that time, however
// often the series is written.
func Supersedes(timestamp, latest, clock int64) bool {
	return timestamp >= latest || InFuture(latest, clock)
}
