//go:build !race

package file

// slow is how many times longer things may take in this build.
const slow = 1
