// Package replica is a server's copy of a log, and what can be asked of it: the
// files, the latest sample of each series, an index of labels, and which request is
// in which block. It knows no streams and no calls.
//
// Guaranteed: a snapshot has the live series that a selection matches, as of one
// block. One connection at a time feeds a log.
//
// Not guaranteed: that the copy is complete. It says how far it has come, and whether
// blocks can be appended.
package replica
