// Package window holds the recent samples of a log in memory, by series.
//
// Blocks are applied to it as they come. The samples of a page, which is 1024 consecutive
// references, are kept as they came for a while: a part of a block is a few words and a
// share of its values. Then they are encoded series by series, into a slab:
//
//	page    slab     slab     slab     tail
//	        ref 1    ref 1    ref 1    part: refs 1 to 500 at 12:00:15
//	        ref 2    ref 2    ref 2    part: refs 501 to 900 at 12:00:17
//	        …        …        …        …
//	time    ─────────────────────────────────────────────▶
//
// Guaranteed: a view has every sample of the blocks before it whose timestamp is at or
// above its floor, of the series that the log's head has. It is read without locks, and
// stays what it is. What samples a window has does not depend on when they were encoded.
//
// Not guaranteed: where the floor is. It rises when memory is short, when series are
// dropped, and after a gap.
package window
