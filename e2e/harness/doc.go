// Package harness runs the project's binaries, and the real programs around
// them, as processes for end-to-end tests.
//
// Every process gets a loopback address of its own, and ports that are free, so
// that nothing that listens on the machine is in the way, not even while a
// process is being restarted. Processes
// end with the test, or with the test binary if that is killed. The logs of a
// failed test's processes are part of its output.
//
// Linux only: it relies on 127.0.0.0/8 and on /proc.
package harness
