// Package archived reads what a bucket has of logs, and brings it back to a storage
// folder.
//
// Guaranteed: a restored folder has what the bucket has, byte for byte, and every frame
// of it was verified and decoded; a folder in which there is anything else is left alone;
// a restore that was broken off goes on where it was.
//
// Not guaranteed: anything of what a bucket had not yet been given, nor one instant for
// all logs: a bucket is listed while it may be changing.
package archived
