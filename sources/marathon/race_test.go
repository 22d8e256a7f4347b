//go:build race

package marathon

// slow is how many times longer things may take in this build.
const slow = 20
