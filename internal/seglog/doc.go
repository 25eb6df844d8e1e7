// Package seglog keeps a log as a folder of segment files. A [Writer] appends with
// group commit and rotates, a [Mirror] writes the bytes that another process's writer
// wrote, and any number of readers follow the tail or read the past. Retention deletes
// segments, and opening a log repairs its torn tail.
//
//	Writer ──append──▶ act ──sync──▶ Log ──▶ Reader     decoded blocks
//	                                  │ ──▶ RawReader  ──network──▶ Mirror ──▶ Log ──▶ …
//
// Guaranteed: what a reader sees is durable by the sync policy of the log, and stays
// visible while the process lives. What WaitDurable confirmed survives a crash of the
// process under every policy, and a power cut under SyncAlways. If visible blocks were
// lost, opening the log for writing notices, and starts a new log rather than reuse
// their sequences. One process at a time has the folder of a store, by a lock.
//
// Not guaranteed: that opening notices a whole folder that was replaced by an older
// copy. Files that the package does not know are left alone.
package seglog
