// Package remote is what a router evaluates PromQL on: the series of all groups, read from
// their servers, and the time that all groups have come to.
//
// Guaranteed: what is read is what one server with all series would have: all groups have
// answered, or there is an error that names those that did not, and a step with a delay is
// read from servers that have come to when it was due. A caller sees no series but those
// that it is allowed to. Time never goes back, and stands still while a group is away. A
// call that a server breaks off is made again at another, as long as a group may be away.
//
// Not guaranteed: that groups have no series in common. Where they do, with samples at one
// time, that of the group counts whose name comes first.
package remote
