// Package storeapi is Thanos' StoreAPI on the logs of a server: what its queriers ask of a
// store, answered from the windows, the index and the bucket.
//
// Guaranteed: each series comes once, sorted by its labels as they are sent, with all samples
// of the time that is asked about, each timestamp once, whichever logs have them; bits are
// kept, those of stale markers too. It is what an evaluation of PromQL on this server reads
// without a delay. What does not have room, or cannot be read, fails the call: nothing is
// left out with a warning.
//
// Not guaranteed: that chunks end where the time does, or that a series has samples in it that
// has some before and after; that replicas send the same chunks for the same samples; that
// histograms say whether there was a counter reset before them.
package storeapi
