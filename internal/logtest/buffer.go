// Package logtest keeps what is logged, for tests to read.
package logtest

import (
	"bytes"
	"strings"
	"sync"
)

// Buffer collects a log. It can be read while it is written.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends to the log.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns all that was logged.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Lines returns those lines that have the words.
func (b *Buffer) Lines(words string) (lines []string) {
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, words) {
			lines = append(lines, line)
		}
	}
	return lines
}
