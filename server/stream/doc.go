// Package stream is a call's way through the logs: where it starts, what it selects of
// each block, how that is assembled and sent, and why it ends.
//
// Guaranteed: what a stream has delivered up to a cursor, and what a stream that starts
// at this cursor delivers, here or at any other replica of the same logs, are together
// everything that was selected, each sample once and in the order of its log. A Gap
// event stands where that is not possible. With min_interval, a resumed stream may
// repeat samples of the interval that was under way.
//
// A request that a sender repeated, byte for byte, at another forwarder is delivered
// once, from the log that the stream comes to first, and a snapshot has each series
// once. That holds for the newest 131,072 blocks of each log.
//
// A slow client delays nobody else, and holds no more memory than the limits say.
//
// Not guaranteed: an order between samples of different logs, nor that a sample which
// came to two forwarders in different requests is delivered once.
package stream
