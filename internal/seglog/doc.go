// Package seglog keeps a log as a folder of segment files. A [Writer] appends with
// group commit and rotates, a [Mirror] writes the bytes that another process's writer
// wrote, and any number of readers follow the tail or read the past. Retention deletes
// segments, and opening a log repairs its torn tail. What a [Remote] has of a log, as a
// bucket does, readers read from there once it is not on the disk any more, or if it never
// was; with [Store.OpenRemote] all of it.
//
//	Writer ──append──▶ act ──sync──▶ Log ──▶ Reader     decoded blocks
//	                                  │ ──▶ RawReader  ──network──▶ Mirror ──▶ Log ──▶ …
//
// Guaranteed: what a reader sees is durable by the sync policy of the log, unless
// [Options.ShowFirst] has it seen before, and stays visible while the process lives. What
// WaitDurable confirmed survives a crash of the process under every policy, and a power
// cut under SyncAlways. If visible blocks were lost, opening the log for writing notices, and starts a new log rather than reuse
// their sequences. One process at a time has the folder of a store, by a lock. With a
// Remote, retention deletes only what is there too, unless the disk holds twice what it
// may. That the Remote fails is never noted as damage, and who waits for it holds no lock.
//
// Not guaranteed: that opening notices a whole folder that was replaced by an older
// copy; nor that a Remote still has what it was said to have: then there is a gap.
// Files that the package does not know are left alone.
package seglog
