// Package simulation plays what forwarders, servers, senders and a bucket do to each
// other when machines are lost, and looks whether what was answered is still there.
//
// It runs the decisions of the real code: which block is acknowledged, which forwarder a
// sender goes to, which log is fetched from whom, when a log has ended, what is uploaded
// next, who of a pair is elected. They are pure: here they get a simulated time. What
// surrounds them is a model: a log is a list of blocks, a disk what was written and
// what was forced, a link what comes late, or not at all. A server that fills itself
// has its log by the same exchange as one that lacks a tail.
//
// A seed makes a schedule: a small deployment, requests, and faults. It takes
// the same course each time. One that fails is made smaller, and told in words.
//
// Not covered: the shells around the decisions, with their files, goroutines and
// connections. That is what e2e/torture is for.
package simulation
