package terminal

import "slices"

// maxCompared bounds the table of a comparison, in cells: what differs more is shown as all
// old lines and then all new ones.
const maxCompared = 4 << 20

// DiffLine is a line of a comparison: kept (' '), gone ('-') or new ('+'), or, with '@', the
// place of lines that are left out.
type DiffLine struct {
	Kind byte
	Text string
}

// Diff compares lines, and keeps context lines around those that differ.
func Diff(before, after []string, context int) []DiffLine {
	return around(compared(before, after), context)
}

// compared goes by the longest common subsequence of what is between the common beginning and
// the common end.
func compared(a, b []string) (lines []DiffLine) {
	add := func(kind byte, text ...string) {
		for _, t := range text {
			lines = append(lines, DiffLine{kind, t})
		}
	}
	head := 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	add(' ', a[:head]...)
	end := a[len(a)-tail:]
	a, b = a[head:len(a)-tail], b[head:len(b)-tail]
	if len(a)*len(b) > maxCompared {
		add('-', a...)
		add('+', b...)
		add(' ', end...)
		return lines
	}
	common := commonLengths(a, b)
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			add(' ', a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			add('-', a[i])
			i++
		default:
			add('+', b[j])
			j++
		}
	}
	add(' ', end...)
	return lines
}

// commonLengths has at [i][j] how many lines a[i:] and b[j:] have in common, in order.
func commonLengths(a, b []string) [][]int32 {
	table := make([][]int32, len(a)+1)
	for i := range table {
		table[i] = make([]int32, len(b)+1)
	}
	for i, x := range slices.Backward(a) {
		for j, y := range slices.Backward(b) {
			if x == y {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	return table
}

// around leaves out what is far from all that differs.
func around(lines []DiffLine, context int) (some []DiffLine) {
	keep := make([]bool, len(lines))
	for i, line := range lines {
		if line.Kind == ' ' {
			continue
		}
		for k := max(0, i-context); k <= min(len(lines)-1, i+context); k++ {
			keep[k] = true
		}
	}
	for i, line := range lines {
		switch {
		case keep[i]:
			some = append(some, line)
		case i == 0 || keep[i-1]:
			some = append(some, DiffLine{Kind: '@'})
		}
	}
	return some
}
