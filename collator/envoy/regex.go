package envoy

import (
	"math"
	"unicode/utf8"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// regexMatcher makes a matcher of a regular expression. Envoy rejects one whose program has
// more than 100 instructions, unless its bootstrap or the matcher allows that. Bootstraps
// cannot be changed from here. The field of the matcher is deprecated, so Envoy logs a
// warning, but there is no other one.
func regexMatcher(pattern string, large bool) *matcherv3.RegexMatcher {
	m := &matcherv3.RegexMatcher{Regex: pattern}
	if large {
		//lint:ignore SA1019 see above
		m.EngineType = &matcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &matcherv3.RegexMatcher_GoogleRE2{MaxProgramSize: wrapperspb.UInt32(math.MaxUint32)}}
	}
	return m
}

// anyRegex makes a matcher of an expression that somebody else wrote.
func anyRegex(pattern string) *matcherv3.RegexMatcher {
	return regexMatcher(pattern, mayBeLarge(pattern))
}

// mayBeLarge reports whether an expression may have more than 100 instructions: what stands for many characters has some for each length that
// a character may have in UTF-8, and what is repeated a number of times is there so many times.
func mayBeLarge(pattern string) bool {
	const limit, ofMany = 90, 12
	n := instructions(pattern)
	for i := range len(pattern) {
		switch pattern[i] {
		case '{':
			return true
		case '.', '[', '\\':
			n += ofMany
		}
	}
	return n > limit
}

// instructions returns how many instructions a text is, at most, in an expression that ignores
// case. Of two letters there are forms outside ASCII (the Kelvin sign and the long s). Newer
// Envoys need fewer for these.
func instructions(text string) (n int) {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= utf8.RuneSelf, c == 'k', c == 'K', c == 's', c == 'S':
			n += 4
		default:
			n++
		}
	}
	return n
}
