// Package forwarder takes remote-write requests from receivers, decodes each
// once, appends them to its log, and sends the log to every server.
//
// A request passes through three stages. Decoding runs in parallel and knows
// nothing of other requests. One goroutine, the appender, turns label sets into
// references, drops what is an exact repeat, and appends a block to the log.
// Another answers in order once the block is durable: requests that arrive during one
// fsync share the next, and the first of several from concurrent senders waits up to
// two milliseconds for the others.
//
// Guaranteed: what was answered with CODE_OK or CODE_INVALID is durable by the
// log's sync policy, repeats included: they are answered when what they repeat
// is durable. A request that comes again within the repeat window gets the verdict that
// it had and stores nothing, after a restart too. If limits refused a part of it and
// have changed since, that part is stored if it fits by now, and the rest is not stored
// again. A bad series costs its neighbours nothing. A dead or slow server slows neither
// receivers nor other servers. While the log cannot be written, batches are answered
// with CODE_UNAVAILABLE.
//
// Not guaranteed: that a request is recognised after a restart when all of it
// had been stored before under another digest, or none of it could be stored.
package forwarder
