// Package archive keeps a server's logs in a bucket: it uploads them, says what is there,
// reads it as a [seglog.Remote], fills a server that lacks what is there, and applies the
// bucket's retention. What it does next is decided by the package plan.
//
// Guaranteed: an object is created once and never overwritten; only bytes whose checksums
// are right are uploaded; a copy of a log that differs from what is in the bucket is left
// alone, and said. While the bucket is slow or away nothing else waits for it, memory is
// bounded, and what is missing there is caught up with afterwards.
//
// Not guaranteed: that what is in the bucket is seen at once by servers that do not have
// the log on their disks: they list it every few minutes.
package archive
