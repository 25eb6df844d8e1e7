// Package remotewrite decodes the bodies of Prometheus remote write 1.0
// (prometheus.WriteRequest) and 2.0 (io.prometheus.write.v2.Request) by
// scanning their wire form.
//
// Decoding a request allocates nothing once its buffers have grown. Labels are
// not parsed: a series is known by the bytes of its labels and their hash, and
// only who has not seen the hash before calls Labels, which parses and checks
// each label that the request's series have once.
// Everything else is checked while it is scanned: structure, references into
// the symbol table, native histograms, exemplars, and the limits.
//
// What is wrong with one series is noted, and costs its neighbours nothing.
// What is wrong with the body as a whole is an error, and then nothing of it
// may be used.
//
// The package guarantees that no input makes it panic, or take memory beyond
// what the limits allow, nor more than Within let it have. It does not judge timestamps, nor the order of
// samples.
package remotewrite
