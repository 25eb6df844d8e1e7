// Package feed is how blocks come into the replicas of a server: from forwarders over
// the link, or by ReadLogs: into a relay from a server, and from one server into another
// where a forwarder is gone.
//
// Guaranteed: what is acknowledged was written to the replica's files as it was sent, and
// what is acknowledged as durable, where a forwarder asks for that, was forced to the disk.
// The newest connection feeds a log, and no other one does. A gap is counted and
// logged. A relay reads from another upstream when one is lost, silent or lagging. What a
// server sends of a log that no forwarder feeds continues what is here, or is refused, and a
// forwarder that comes has the log at once.
//
// Not guaranteed: that what is acknowledged otherwise survives a power cut. After one, the
// replica's position says what it has, and the rest is sent again.
package feed
