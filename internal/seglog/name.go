package seglog

// FirstSequence returns the first sequence in the name of a segment's file, false if it
// is none.
func FirstSequence(name string) (uint64, bool) { return parseName(name) }
