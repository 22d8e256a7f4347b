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
	maxAutomatonWork = 100_000
	// maxBusy is how many instructions there may be for each character, see busiest.
	maxBusy = 12
	// stateBytes, instructionBytes and classBytes are what a state takes, for itself, for each instruction in it, and for each class of characters.
	stateBytes, instructionBytes, classBytes = 40, 4, 8
)

// automaton is made of a program, state by state.
type automaton struct {
	program *syntax.Prog
	// first are the first characters of the classes, whose characters are the same to all instructions.
	first  []rune
	number map[string]int
	states [][]uint32
	// edges lead from states to states.
	edges map[[2]int]struct{}
	size  int
	work  int
}

// smallAutomaton reports whether the automaton of a program, which is for the whole of a text, is small.
func smallAutomaton(program *syntax.Prog) bool {
	_, small := newAutomaton(program)
	return small
}

func newAutomaton(program *syntax.Prog) (a *automaton, small bool) {
	a = &automaton{program: program, first: classesOf(program), number: make(map[string]int), edges: make(map[[2]int]struct{})}
	a.add(a.closure([]uint32{uint32(program.Start)}))
	for from := 0; from < len(a.states); from++ {
		state := a.states[from]
		for _, c := range a.first {
			var after []uint32
			for _, pc := range state {
				a.work++
				if i := &program.Inst[pc]; i.MatchRune(c) {
					after = append(after, i.Out)
				}
			}
			if to := a.add(a.closure(after)); to >= 0 {
				a.edges[[2]int{from, to}] = struct{}{}
			}
			if a.size > maxAutomaton || a.work > maxAutomatonWork {
				return a, false
			}
		}
	}
	return a, true
}

// busiest is how many instructions RE2 goes through for each character of a text that may have any length, at most, to find
// the groups.
func (a *automaton) busiest() (most int) {
	// A state that no cycle leads to, or that leads to none, is passed once.
	after, before := a.followed(0, 1), a.followed(1, 0)
	for i, state := range a.states {
		if after[i] && before[i] {
			most = max(most, len(state))
		}
	}
	return most
}

// followed has the states that a cycle leads to, by edges from one end to the other.
func (a *automaton) followed(from, to int) []bool {
	leads, comes := make([][]int, len(a.states)), make([]int, len(a.states))
	for edge := range a.edges {
		leads[edge[from]] = append(leads[edge[from]], edge[to])
		comes[edge[to]]++
	}
	var free []int
	for i, n := range comes {
		if n == 0 {
			free = append(free, i)
		}
	}
	for len(free) > 0 {
		last := free[len(free)-1]
		free = free[:len(free)-1]
		for _, next := range leads[last] {
			if comes[next]--; comes[next] == 0 {
				free = append(free, next)
			}
		}
	}
	left := make([]bool, len(a.states))
	for i, n := range comes {
		left[i] = n > 0
	}
	return left
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

// add returns the number of a state; -1 if it is none.
func (a *automaton) add(state []uint32) int {
	if len(state) == 0 {
		return -1
	}
	key := fmt.Sprint(state)
	n, ok := a.number[key]
	if !ok {
		n = len(a.states)
		a.number[key] = n
		a.states = append(a.states, state)
		a.size += stateBytes + len(state)*instructionBytes + len(a.first)*classBytes
	}
	return n
}

// checkGroups says why the groups of a good expression cannot be had; nothing when they can.
func checkGroups(pattern string) (wrong string) {
	if a, small := newAutomaton(compiled(pattern)); !small || a.busiest() > maxBusy {
		return tooSlow
	}
	return ""
}

// maxExtracted is how many instructions an expression may have of which Envoy puts groups into a header. It leaves out the groups of larger
// ones, and says nothing.
const maxExtracted = 100

// checkExtracted says why Envoy cannot put the groups of a good expression into a header; nothing when it can.
func checkExtracted(pattern string) (wrong string) {
	const ofMany, ofFolded = 12, 4
	n := 0
	program := compiled("^(?:" + pattern + ")$")
	for i := range program.Inst {
		n++
		switch in := &program.Inst[i]; in.Op {
		case syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			n += ofMany
		case syntax.InstRune, syntax.InstRune1:
			switch {
			case in.MatchRune('é'):
				n += ofMany
			case len(in.Rune) > 2, syntax.Flags(in.Arg)&syntax.FoldCase != 0:
				n += ofFolded
			}
		}
	}
	if n > maxExtracted {
		return "is too long for a target that has a part of what it matches"
	}
	return checkGroups(pattern)
}

func compiled(pattern string) *syntax.Prog {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err == nil {
		if program, err := syntax.Compile(parsed.Simplify()); err == nil {
			return program
		}
	}
	return &syntax.Prog{Inst: []syntax.Inst{{Op: syntax.InstFail}}}
}
