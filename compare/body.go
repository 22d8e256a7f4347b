package compare

import (
	"bytes"
	"slices"
	"strings"
)

// likeness says what bodies tell about which app answered.
type likeness int

const (
	sameBody likeness = iota
	otherBody
	unclearBody // the answers of a side differ among themselves, and what is left does not tell
)

// nearlyAll is the share of the words of pages that change with each request that has to be
// the same, so that it cannot be told whether they are of one app. If all are, they are.
const nearlyAll = 0.8

// compareBodies compares bodies of both sides, of several answers each. What already differs
// among the answers of one side does not count.
func compareBodies(old, new [][]byte) likeness {
	for _, a := range old {
		for _, b := range new {
			if bytes.Equal(a, b) {
				return sameBody
			}
		}
	}
	if constant(old) && constant(new) {
		return otherBody
	}
	was, is := commonWords(old), commonWords(new)
	union := len(was)
	shared := 0
	for word := range is {
		if _, both := was[word]; both {
			shared++
		} else {
			union++
		}
	}
	switch {
	case union == 0:
		return unclearBody
	case shared == union:
		return sameBody
	case float64(shared) >= nearlyAll*float64(union):
		return unclearBody
	}
	return otherBody
}

func constant(bodies [][]byte) bool {
	return !slices.ContainsFunc(bodies, func(b []byte) bool { return !bytes.Equal(b, bodies[0]) })
}

// commonWords are the words that are in all bodies: those that change with each request are
// not.
func commonWords(bodies [][]byte) map[string]struct{} {
	var common map[string]struct{}
	for _, body := range bodies {
		words := make(map[string]struct{})
		for word := range strings.FieldsFuncSeq(string(body), func(c rune) bool { return c <= ' ' || strings.ContainsRune(`<>"'=&;,:{}[]()`, c) }) {
			if _, before := common[word]; common == nil || before {
				words[word] = struct{}{}
			}
		}
		common = words
	}
	return common
}
