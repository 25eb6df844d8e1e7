// Package h2frames wraps the connections of a net/http server that speaks HTTP/2 and
// does not know of the TLS beneath, if there is any. It cuts large frames on the way
// out, and paces those that open streams on the way in.
//
// # Cutting
//
// Most clients accept DATA frames of 16 KiB, the default. net/http passes each
// frame that it sends from goroutine to goroutine and writes it on its own, which
// takes more time than filling it. So net/http is told that the client accepts
// [Large] frames. They are cut here into frames that the client does accept, which
// are written together:
//
//	client                          this package                  net/http
//	SETTINGS, MAX_FRAME_SIZE   ──▶  raised to at least 128 KiB ──▶  fills frames
//	of 16 KiB, or without it                                       of 128 KiB
//
//	DATA 16 │ DATA 16 │ … │ DATA 16, END_STREAM  ◀──  DATA 128, END_STREAM
//
//	frame      ┌───┬──────────────────────────────────────────┐
//	           │ h │ payload                                  │
//	           └───┴──────────────────────────────────────────┘
//	written    ┌───┬──────────────┐┌───┬──────────────┐┌───┬──────────┐
//	           │ h'│ limit bytes  ││ h'│ limit bytes  ││ h │ the rest │
//	           └───┴──────────────┘└───┴──────────────┘└───┴──────────┘
//
// Each h' is h with the piece's length and without END_STREAM. The payload is not
// copied: headers and slices of it go to the kernel in one writev, or to TLS for it to
// fill its records. Flow control counts payload and no headers, so both ends agree on the
// windows.
//
// Writes need not start or end with a frame. What the cutter keeps between them is
// the header, as far as it has come, and how much payload is left of the frame and
// of the piece.
//
// # Pacing
//
// net/http bounds how many streams are open, but not how many a client opens and
// resets, each of which costs as much as a small call. A token bucket counts HEADERS
// frames as they are read, and delays reading when a client is too fast.
//
// # What holds
//
// Guaranteed: no frame that a client gets is larger than its first SETTINGS accept,
// or than net/http makes it after later ones. The bytes of each stream, the order of
// frames, and all frames but DATA are as net/http wrote them. net/http reads what the
// client sent, but for MAX_FRAME_SIZE in its first SETTINGS; errors in it are left for
// net/http to report. Other protocols pass unchanged. All of this holds wherever reads
// and writes start and end.
//
// Not guaranteed: that frames are as large as the client accepts. Those for a client
// that accepts more only by later SETTINGS, or whose first take more than 512 bytes, stay
// at 16 KiB. The answer to a PING may wait for a large frame instead of a small one. A
// connection is of no use after a failed Write. Padded frames must not be written;
// net/http does not pad.
package h2frames
