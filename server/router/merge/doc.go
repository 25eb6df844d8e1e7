// Package merge makes one stream of GetMetrics of those of several groups of servers.
//
// Guaranteed: each response of a group comes through once, in its group's order, with the
// bytes of its series as they are; a cursor covers what was sent, of all groups, and is an
// ordinary one, with which any router goes on. What breaks off in one group is taken up
// again where it was, at another server, without a word to the client. A group that is away
// is told of, and waited for or refused as the caller chooses: none is left out in silence,
// and none holds up the others. Memory is bounded for each group, and counted.
//
// Not guaranteed: an order between groups. A snapshot that was asked for at several groups
// is not of one instant.
package merge
