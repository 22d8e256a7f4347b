//go:build race

package collator

// slower is how much longer everything may take under the race detector.
const slower = 15
