//go:build !race

package collator

const slower = 1
