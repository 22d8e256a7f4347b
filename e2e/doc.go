// Package e2e tests the whole program from outside: a Marathon with real tasks,
// certificates, Relay, and real Envoys. The tests use what a user can use: the
// configuration, the xDS port, the admin endpoint, the log, and what clients of
// Envoy get. What needs to look inside is tested beside what it tests.
package e2e
