package head

// ClockSkew is how far ahead of the forwarder's clock, in ms, a sample may be by a
// difference of clocks alone.
const ClockSkew = 60_000

// Ahead says whether a sample is from the future, at a time of the forwarder's clock;
// both are in ms.
func Ahead(timestamp, clock int64) bool { return timestamp > clock+ClockSkew }

// Supersedes says whether a sample becomes the latest of its series instead of
// another, at a time of the forwarder's clock; all are in ms. As a rule the later one is
// the latest. But one from the future is so only until another comes: it would stand for
// the series until that future has come, however often the series is written.
func Supersedes(timestamp, latest, clock int64) bool {
	return timestamp >= latest || Ahead(latest, clock)
}
