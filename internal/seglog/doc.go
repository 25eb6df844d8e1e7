// Package seglog keeps a log as a folder of segment files: it appends with
// group commit, rotates, deletes what is older or more than may be kept,
// repairs a torn tail at opening, and lets any number of readers follow the
// tail or read the past.
//
// What a reader sees is durable by the sync policy of the log, and is never
// taken back while the process lives. What WaitDurable confirmed survives a
// crash of the process under every policy, and a power cut under SyncAlways.
// What was visible and is lost all the same is noticed when the log is opened for
// writing, and nothing else takes its place: a new log is begun. Not noticed is that
// all of the folder is a copy from before.
//
// The folder of a store belongs to one process, held by a lock. Files that the
// package does not know are left alone.
package seglog
