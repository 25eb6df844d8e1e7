// Package forwarder takes remote-write requests from receivers, decodes each
// once, appends them to its log, and sends the log to every server.
//
// A request passes through three stages. Decoding runs in parallel and knows
// nothing of other requests. One goroutine, the appender, turns label sets into
// references, drops what is an exact repeat, and appends a block to the log.
// Another answers in order once the block is durable: requests which come while
// one fsync is under way share the next, and where senders keep several under
// way, the first of a few waits up to two milliseconds for the others.
//
// Guaranteed: what was answered with CODE_OK or CODE_INVALID is durable by the
// log's sync policy, repeats included: they are answered when what they repeat
// is durable. A request that comes again within the window of digests gets the
// verdict that it had and stores nothing, after a restart too. If limits had a part
// in that and are others now, it brings what was refused and fits by now, and what
// was stored is not stored again. A bad series costs its neighbours nothing. A dead
// or slow server slows neither receivers nor other servers. When the log cannot be
// written, batches are answered with CODE_UNAVAILABLE until it has been opened again.
//
// Not guaranteed: that a request is recognised after a restart when all of it
// had been stored before under another digest, or none of it could be stored.
package forwarder
