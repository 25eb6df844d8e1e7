// Package groups is what a router knows of the groups of servers that it calls: which there
// are by the groups file, which servers each has, which of them answer, and what logs they
// have. A call goes to one of a group's servers, and to another one where it fails.
//
// Guaranteed: a server that does not answer, or is not ready, is called only where no other
// one of its group is; a call that was lost is not made at more than three servers. Not
// guaranteed: that what is known of a group is newer than about a second.
package groups
