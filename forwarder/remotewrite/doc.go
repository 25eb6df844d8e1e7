// Package remotewrite decodes the bodies of Prometheus remote write 1.0
// (prometheus.WriteRequest) and 2.0 (io.prometheus.write.v2.Request) by
// scanning their wire form.
//
// The scanner reads a body once from front to back, into columns that the series of
// the request share. Nothing is copied but samples: labels, histograms and exemplars
// stay where they are in the body, and a series says where its share of each column
// ends.
//
//	body         series A                      series B
//	             labels │ sample │ sample      labels │ sample │ histogram
//	                │                             │
//	Series       hash, labels, ends 2 0        hash, labels, ends 3 1
//	Samples      A A B
//	Histograms   B
//
// Nearly every field is as encoders write it, with a tag of one byte and a short
// length, so those are tried first; readField reads whatever protobuf allows.
//
// Decoding a request allocates nothing once its buffers have grown. Labels are not
// parsed: a series is known by the hash of its labels' bytes as they are. Labels is for
// a hash that was not seen before; it parses and checks each label of the request once.
// Everything else is checked while it is scanned: structure, references into the symbol
// table, native histograms, exemplars, and the limits.
//
// What is wrong with one series is noted, and costs its neighbours nothing.
// What is wrong with the body as a whole is an error, and then nothing of it
// may be used.
//
// The package guarantees that no input makes it panic, or take more memory than the
// limits allow, or than Within grants. It does not judge timestamps, nor the order of
// samples.
package remotewrite
