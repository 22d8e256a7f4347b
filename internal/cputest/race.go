//go:build race

package cputest

// Slow is how many times longer things may take in this build.
const Slow = 20
