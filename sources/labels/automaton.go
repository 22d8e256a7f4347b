package labels

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"unicode"
)

// What the automaton of an expression may take. RE2 makes its states as texts ask for them, and matches in a time that does not depend on the
// expression as long as there are few. Of too many, it goes through all instructions for each character: a client could keep an Envoy busy for
// seconds with one path of 40 kB. See https://swtch.com/~rsc/regexp/regexp3.html.
const (
	maxAutomaton = 256 << 10
	// maxAutomatonWork is how many steps it may take to tell.
	maxAutomatonWork = 500_000
	// stateBytes, instructionBytes and classBytes are what a state takes, for itself, for each instruction in it, and for each class of characters.
	stateBytes, instructionBytes, classBytes = 40, 4, 8
)

// automaton is made of a program, state by state.
type automaton struct {
	program *syntax.Prog
	// first are the first characters of the classes, whose characters are the same to all instructions.
	first []rune
	seen  map[string]struct{}
	next  [][]uint32
	size  int
	work  int
}

// smallAutomaton reports whether the automaton of a program, which is for the whole of a text, is small.
func smallAutomaton(program *syntax.Prog) bool {
	a := &automaton{program: program, first: classesOf(program), seen: make(map[string]struct{})}
	a.add(a.closure([]uint32{uint32(program.Start)}))
	for len(a.next) > 0 {
		state := a.next[len(a.next)-1]
		a.next = a.next[:len(a.next)-1]
		for _, c := range a.first {
			var after []uint32
			for _, pc := range state {
				a.work++
				if i := &program.Inst[pc]; i.MatchRune(c) {
					after = append(after, i.Out)
				}
			}
			a.add(a.closure(after))
			if a.size > maxAutomaton || a.work > maxAutomatonWork {
				return false
			}
		}
	}
	return true
}

// classesOf returns the first character of each class.
func classesOf(program *syntax.Prog) []rune {
	first := []rune{0}
	for i := range program.Inst {
		in := &program.Inst[i]
		switch in.Op {
		case syntax.InstRune, syntax.InstRune1:
			for j := 0; j < len(in.Rune); j += 2 {
				from, to := in.Rune[j], in.Rune[min(j+1, len(in.Rune)-1)]
				first = append(first, from, to+1)
				if len(in.Rune) == 1 && syntax.Flags(in.Arg)&syntax.FoldCase != 0 {
					for other := unicode.SimpleFold(from); other != from; other = unicode.SimpleFold(other) {
						first = append(first, other, other+1)
					}
				}
			}
		case syntax.InstRuneAnyNotNL:
			first = append(first, '\n', '\n'+1)
		}
	}
	slices.Sort(first)
	return slices.Compact(first)
}

// closure returns the instructions that take a character, or end the match, of those that are reached from these. What
// looks at the beginning or end of a text is taken to fit.
func (a *automaton) closure(from []uint32) (state []uint32) {
	visited := make(map[uint32]struct{}, len(from))
	for len(from) > 0 {
		pc := from[len(from)-1]
		from = from[:len(from)-1]
		if _, ok := visited[pc]; ok {
			continue
		}
		visited[pc] = struct{}{}
		a.work++
		switch in := &a.program.Inst[pc]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			from = append(from, in.Out, in.Arg)
		case syntax.InstCapture, syntax.InstEmptyWidth, syntax.InstNop:
			from = append(from, in.Out)
		case syntax.InstFail:
		default:
			state = append(state, pc)
		}
	}
	slices.Sort(state)
	return state
}

// add takes note of a state that is new.
func (a *automaton) add(state []uint32) {
	key := fmt.Sprint(state)
	if _, ok := a.seen[key]; ok || len(state) == 0 {
		return
	}
	a.seen[key] = struct{}{}
	a.next = append(a.next, state)
	a.size += stateBytes + len(state)*instructionBytes + len(a.first)*classBytes
}
