// Package seglog keeps a log as a folder of segment files: it appends with
// group commit, rotates, deletes what is older or more than may be kept,
// repairs a torn tail at opening, and lets any number of readers follow the
// tail or read the past.
//
// What a reader sees is durable by the sync policy of the log, and is never
// taken back while the process lives. What WaitDurable confirmed survives a
// crash of the process under every policy, and a power cut under SyncAlways.
//
// The folder of a store belongs to one process, held by a lock. Files that the
// package does not know are left alone.
package seglog
