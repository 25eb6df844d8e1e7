// Package replica is a server's copy of a log, and what can be asked of it: the
// files, the latest sample of each series, an index of their labels, and which
// request is in which block. It knows neither streams nor calls.
//
// Guaranteed: a snapshot has the series that are selected, and live, as of one block.
// The state and the index are as of the same block. What one connection feeds, no
// other one does at the same time.
//
// Not guaranteed: that the copy is complete. How far it is, and whether it gets on,
// can be asked.
package replica
