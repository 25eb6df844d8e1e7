// Package server keeps copies of forwarders' logs and serves them. This folder has the
// configuration with its limits, start and end. Its rooms are rpc (the calls), stream (a
// call's way through the logs), selection (the selectors of a call), refusal (the errors
// of calls that are refused), feed (how blocks come in) and replica (a log's copy and
// what can be asked of it).
//
// Guaranteed: a server that does not serve says so to those who watch its health. What
// else is guaranteed is said by the packages of the rooms.
package server
