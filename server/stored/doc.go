// Package stored serves ReadSeries and FollowTime: series with their samples as they are
// kept, and how far time has come, for who evaluates elsewhere. It has the wire form of
// what is read, in both directions.
//
// Guaranteed: who evaluates what was read, with the lags that it has, comes to the same,
// bit by bit, as who evaluates at its source. What is read is held in memory until it was
// sent, and takes a turn as an evaluation does until it was found. Decoding checks what it
// is given, but for the inside of chunks, which are read by Prometheus' own decoders.
package stored
