// Package segment is the codec of the segment format: the bytes that lie on
// disk, go over the link, and are replicated as they are. The format itself is
// specified in docs/segment-format.md.
//
// A segment is self-contained: a file header, a keyframe (every live series
// with its labels and latest sample), then blocks, then, once it is complete,
// a footer. Each frame carries its own checksum, and a header that can be read
// without its payload.
//
// The package guarantees that what the encoder took comes back bit for bit
// (values by their bit pattern, order of arrival, opaque bytes), that equal
// input in equal state gives equal bytes, and that no input makes a decoder
// panic or allocate more than the limits in this package allow. It does not
// touch files, starts no goroutines, and nothing in it may be called
// concurrently on one value.
package segment
