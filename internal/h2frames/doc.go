// Package h2frames stands between a server of net/http and its connections, and
// does two things to the frames of HTTP/2: it cuts the large ones that go out, and
// paces those that begin calls on the way in.
//
// Why frames are cut: most clients take frames of 16 KiB, since they say nothing of
// it. net/http hands each frame that it sends from goroutine to goroutine, and each
// goes to the kernel by itself, which takes more time than to fill it. So net/http
// is told that the client takes [Large] frames. Such a frame is cut here into those
// that the client does take, and they go to the kernel together:
//
//	   client                      this package                        net/http
//	preface, SETTINGS ───────────> SETTINGS with a larger ───────────> reads that the
//	(16 KiB, or nothing)           MAX_FRAME_SIZE                      client takes 128 KiB
//
//	DATA 16 │ DATA 16 │ … │ END <─ a header before each 16 KiB, <───── DATA 128, END
//	                               END_STREAM on the last, one writev
//
// Flow control counts the bytes of DATA, not its headers, so windows are as both
// ends think they are.
//
// Guaranteed: a client gets no frame that is larger than the first SETTINGS that it
// sent allow, or than net/http makes them after later ones; the bytes of each stream,
// the order of frames, and every frame but DATA are as net/http wrote them. What a
// client sends reaches net/http as it came, but for MAX_FRAME_SIZE in its first
// SETTINGS. What is wrong with it is left for net/http to say. Other protocols pass
// through as they are. Wherever reads and writes begin and end, the result is the same.
//
// Not guaranteed: that all frames are as large as the client takes. One that allows
// more only after its first SETTINGS, or in more than 512 bytes of them, gets frames of
// 16 KiB still. An answer to a PING may wait for a large frame instead of a small one.
// A connection whose Write failed is of no further use. Frames with padding must not
// be written through it; net/http pads none.
package h2frames
