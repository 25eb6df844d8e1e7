// Package call is what every call has that lasts: who makes it, whether it is admitted,
// the way back to its client, and why it ends.
//
// Guaranteed: no more streams are open than the limits say, of one peer and of all. A
// client that does not take what is sent to it is cut off, and delays nobody else. Each
// end is counted by its reason, and tells the client the cursor to resume at where that
// can help: when the server drains, when the stream has followed for long enough, when
// its caller's rights have changed.
package call
