// Package e2e tests the whole program from outside: a Marathon with real tasks,
// certificates, Relay, and real Envoys. The tests use what a user can use: the
// configuration, the commands, the xDS port, the admin endpoint, the log, and what
// clients of Envoy get. What needs to look inside is tested beside what it tests.
//
// Each test begins with newWorld (world_test.go), whose parts have what tests do
// with them, one file a part. The benchmarks (bench_test.go and its neighbours) have
// worlds of their own: docs/benchmarks.md says what they measure.
package e2e
