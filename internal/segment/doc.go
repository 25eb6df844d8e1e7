// Package segment is the codec of the segment format: the bytes that lie on
// disk, go over the link, and are replicated as they are. The format itself is
// specified in docs/segment-format.md.
//
// A segment is self-contained: a file header, a keyframe (every live series
// with its labels and latest sample), then blocks, then, once it is complete,
// a footer. Each frame carries its own checksum, and a header that can be read
// without its payload.
//
//	┌────────┬──────────┬──────────┬─────────┬─────────┬───┬────────┐
//	│ header │ keyframe │ keyframe │ block   │ block   │ … │ footer │
//	│        │ chunk    │ chunk    │ n       │ n+1     │   │        │
//	└────────┴──────────┴──────────┴─────────┴─────────┴───┴────────┘
//
// Encoder and decoder keep the same state of a segment, series by series, so a frame
// only holds what that state does not tell.
//
// Guaranteed: what was encoded is decoded bit for bit (values by their bit pattern,
// order of arrival, opaque bytes), equal input in equal state gives equal bytes, and no
// input makes a decoder panic or allocate more than the limits in this package allow.
// Not guaranteed: anything about files, which the package does not touch, or about
// concurrent calls on one value.
package segment
