package scenario

import (
	"bufio"
	"context"
	"io"
	"regexp"
	"time"
	"unicode"
)

// Key breaks something when it is pressed, and mends it when it is pressed again.
type Key struct {
	Key rune
	// Breaks and Mends say what happens, such as "stop the Envoy"; Then says what is to be seen.
	Breaks, Mends, Then string
	// Break and Mend do it. Without Mend, each press is a Break.
	Break, Mend func(r *Run) error
}

// listKey shows the list of keys again.
const listKey = '?'

// readKeys sends what is no space until the input or the context ends.
func readKeys(ctx context.Context, in io.Reader, pressed chan<- rune) {
	input := bufio.NewReader(in)
	for {
		key, _, err := input.ReadRune()
		if err != nil {
			return
		}
		if unicode.IsSpace(key) {
			continue
		}
		select {
		case pressed <- key:
		case <-ctx.Done():
			return
		}
	}
}

// guide prints what to look at.
func (r *Run) guide() {
	for _, line := range r.scenario.Guide(r) {
		r.Say("%s", line)
	}
	r.listKeys(nil)
}

func (r *Run) listKeys(broken map[rune]bool) {
	r.Say("PRESS A KEY to break something, and again to mend it (without a terminal: a line with the key)")
	for _, k := range r.scenario.Keys {
		what := k.Breaks
		if broken[k.Key] {
			what = k.Mends
		}
		r.Say("  %c  %s", k.Key, what)
	}
	r.Say("  %c  this list", listKey)
	r.Say("Ctrl-C ends everything.")
}

// press does what keys say until the context ends.
func (r *Run) press() {
	if r.settings.Keys == nil {
		return
	}
	pressed := make(chan rune)
	go readKeys(r.ctx, r.settings.Keys, pressed) // it may wait for a key for as long as the program lives
	broken := make(map[rune]bool)
	for {
		select {
		case key := <-pressed:
			r.pressed(key, broken)
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *Run) pressed(key rune, broken map[rune]bool) {
	for _, k := range r.scenario.Keys {
		if k.Key != key {
			continue
		}
		what, then, do := k.Breaks, k.Then, k.Break
		if broken[key] {
			what, then, do = k.Mends, "", k.Mend
		}
		r.Say("%s -- %c: %s", time.Now().Format(time.TimeOnly), key, what)
		if err := do(r); err != nil {
			if r.ctx.Err() == nil {
				r.Say("-- %c: that failed: %v", key, err)
			}
			return
		}
		broken[key] = k.Mend != nil && !broken[key]
		if then != "" {
			r.Say("            %s", then)
		}
		if broken[key] {
			r.Say("            Press %c again to mend it.", key)
		}
		return
	}
	if key != listKey {
		r.Say("No key %q.", key)
	}
	r.listKeys(broken)
}

var times = regexp.MustCompile(`\d[\d.]*(ms|s)\b`)

// WithoutTimes leaves out how long something took, which is another each time.
func WithoutTimes(line string) string { return times.ReplaceAllString(line, "") }

// changes prints what is to be seen whenever that changes, until the context or a part ends.
func (r *Run) changes() error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var last []string
	for {
		select {
		case <-r.ctx.Done():
			r.Say("stopping")
			return nil
		case now := <-tick.C:
			if err := r.ended(); err != nil {
				return err
			}
			seen := r.scenario.Look(r)
			for i, line := range seen {
				if i >= len(last) || WithoutTimes(line) != WithoutTimes(last[i]) {
					r.Say("%s %s", now.Format(time.TimeOnly), line)
				}
			}
			last = seen
		}
	}
}
