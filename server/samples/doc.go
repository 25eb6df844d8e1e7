// Package samples finds the series of a server's logs with their samples, for whoever
// evaluates or hands them on: in the windows, in the segments before those, on the disk and
// in the bucket.
//
// Guaranteed: what is found of a log is all that it has of the time that is asked about, or
// there is an error; series are sorted by their labels, and each is there once, though
// several logs have it. A viewer finds no series but those that it is allowed to see.
// Memory is held for what is found, about as it is found.
//
// Not guaranteed: that a time is complete. Samples that are no longer retained are not
// missed.
package samples
