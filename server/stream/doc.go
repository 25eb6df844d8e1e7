// Package stream is one call's way through the logs: where it begins, what of each
// block is selected, how that is put into responses and sent, and why it ends.
//
// Guaranteed: what a stream delivered up to a cursor, and what a stream that
// begins at this cursor delivers, here or at any other replica of the same
// logs, are together everything that was selected, each sample once and in the
// order of its log; a Gap event stands where that is not possible. With
// min_interval, a resumed stream may repeat samples of the window that was
// under way.
//
// A request that a sender repeated, byte for byte, at another forwarder is
// delivered once, by the log that the stream comes to first, and a snapshot has
// each series once. That goes for the newest 131,072 blocks of each log.
//
// A client that takes little keeps nobody waiting but itself, and holds no more
// memory than the limits say.
//
// Not guaranteed: an order between samples of different logs, and that a
// sample which came to two forwarders in different requests is delivered once.
package stream
