// Package router is a process that answers every call for several groups of servers, each of
// which has a share of the series, so that clients see one service. It keeps nothing on a
// disk.
//
// Guaranteed: what a call gets is what one server with the logs of all groups would say; a
// group of which no server answers is waited for, or the call refused, as its caller has
// chosen, and never left out in silence. A cursor works at every router of the same groups.
// A caller is told of what it may see alone, by the router's own access file: the servers
// are called as the router.
//
// Not guaranteed: which of two groups counts for the metadata of a family that both have
// and say different things of; it is the last by name.
package router
