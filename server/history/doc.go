// Package history finds what the segments on disk hold, by series. A segment is decoded
// from its start, however little of it is asked for. So what was decoded for one who asked
// is kept on disk by series, as parts, for those who come after.
//
//	segment   blocks 1 … 900                  901 … 1700           1701 … 1730
//	          ┌──────────────────────────┐┌────────────────────┐┌──────────────
//	parts     │ 1 … 900                  ││ 901 … 1400 │ run   ││ run
//	          └──────────────────────────┘└────────────┴───────┘└──────────────
//
// A segment that is still written has a run after its parts: the blocks that were decoded
// since, in memory, where the next who asks goes on.
//
// Guaranteed: a selection has every sample that the log has on disk when it starts, those
// that came late too; of a segment that retention removes meanwhile all or nothing. A part
// belongs to the very blocks that it was made of, by their checksum. One that is damaged,
// or of another log, is removed and made anew. The parts on disk never take more than their
// limit, and what is in memory has a budget; without room for parts, selections work, but
// decode each time. One build works on a segment, for all who wait, and ends with the last
// of them.
//
// Not guaranteed: that a part stays. The segments are the log; the parts can be removed at
// any time.
package history
