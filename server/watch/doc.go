// Package watch wakes followers of few series when a block has any of them, so that a
// block costs nothing to the many whom it does not concern.
//
// One goroutine looks at each new block of the logs that are watched. It knows who
// watches which series, by reference, and tells each watch which block is the first that
// concerns it, and up to where none does. Series that are new are matched by the labels
// that selections name a value of: a new series is tried with those who want one of its
// labels, and with those who name no value.
//
// Guaranteed: a block that has a sample or an exemplar of a series that is selected is
// never passed over. A watch is woken when there is such a block, when blocks are missing
// or a log cannot be read, and when logs come or go. Not guaranteed: that a block that
// concerns a watch has anything of it, nor that each block wakes it: several wake it once.
package watch
