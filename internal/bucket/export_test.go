package bucket

// For tests from outside, which may import what imports this package.
var (
	StartVersitygw = startVersitygw
	StartFakeGCS   = startFakeGCS
)
