// Package feed is how blocks come into the replicas of a server: from forwarders,
// over the link, or into a relay from servers, by ReadLogs.
//
// Guaranteed: what is acknowledged is in the replica's files, as the bytes that were
// sent; one connection at a time feeds a log, the newest; a gap is counted and
// logged. A relay goes on with another upstream when one is lost, silent, or has
// less than the relay itself.
//
// Not guaranteed: that what is acknowledged survives a power cut. The replica then
// says how far it is, and is sent the rest again.
package feed
