// Package election decides which of several senders of the same samples is taken: of the
// Prometheus servers of an HA pair, which share a cluster and differ in a replica, one is
// elected by cluster, and what the others send is dropped until the elected has been
// silent for a while.
//
// It is pure: time and facts come in as arguments, and decisions, with what has to be
// written to the log because of them, go out as values. A table is not safe for concurrent
// use.
//
//	first request          claim ──wait──▶ elected ──silent for long, another asks──▶ claim …
//	                         │                │
//	a claim that holds over it is learned ────┴──▶ that one is elected
//
// Guaranteed: tables that learn of each other's claims come to the same replica for a
// cluster, in whichever order they learn of them, with any clocks, and after a restart from
// the log. Nothing is taken on a claim until others had the time to be known. How long
// somebody was silent is measured by the clock of whoever asks, from what came to be known
// of it, so clocks that differ cause no change. What a table holds is bounded.
//
// Not guaranteed: that no two replicas of a cluster are taken at a time by forwarders that
// do not learn of each other for longer than the wait; and that a sample is taken which the
// elected did not send, between its last one and the election of another.
package election
