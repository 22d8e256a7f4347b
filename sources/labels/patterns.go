package labels

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"relay/sources"
)

// What an expression may be. Envoy matches in a time that grows with the text alone: see smallAutomaton.
const (
	maxPattern = 500
	// maxProgram is how many instructions an expression may be.
	maxProgram = 1000
	// maxGroup is the last group that \N can name.
	maxGroup = 9
)

// CheckPattern says why an expression is not taken; nothing when it is. Those that are mean the same to Go and to RE2, which Envoy has
// (https://github.com/google/re2/wiki/Syntax).
func CheckPattern(pattern string) (wrong string) {
	switch {
	case len(pattern) > maxPattern:
		return fmt.Sprintf("has more than %d bytes", maxPattern)
	case strings.ContainsFunc(pattern, func(c rune) bool { return c < ' ' || c > '~' }):
		return "has characters beyond ASCII"
	case strings.Contains(pattern, "(?P") || strings.Contains(pattern, "(?<"):
		return "has groups with names, which are not needed"
	case strings.Contains(pattern, `\p`) || strings.Contains(pattern, `\P`):
		return "has classes of Unicode, of which no URL has any character unescaped"
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "is no expression of RE2: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxProgram || !smallAutomaton(program) {
		return tooSlow
	}
	return ""
}

const tooSlow = "takes too much time to match"

// CheckWhole says why an expression is not taken that is made of several; nothing when it is.
func CheckWhole(pattern string) (wrong string) {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "is no expression of RE2"
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > 2*maxProgram || !smallAutomaton(program) {
		return tooSlow
	}
	return ""
}

// groupsOf returns how many groups a good expression has.
func groupsOf(pattern string) int { return regexp.MustCompile(pattern).NumSubexp() }

// checkReferences says what is wrong with the \N of a text; nothing if there is a group for each.
func checkReferences(text string, groups int) (wrong string) {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if i == len(text) || text[i] < '1' || text[i] > '9' {
			return `has a \ that no digit from 1 to 9 follows`
		}
		if n, _ := strconv.Atoi(text[i : i+1]); n > groups {
			return fmt.Sprintf(`has \%d, and there are %d groups`, n, groups)
		}
	}
	return ""
}

// refersTo reports whether a text has a reference to one of these groups.
func refersTo(text string, from, to int) bool {
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if n := int(text[i] - '0'); n >= from && n <= to {
			return true
		}
	}
	return false
}

// CheckRedirect says why a redirect cannot be had; nothing when it can.
func CheckRedirect(r sources.Redirect) (wrong string) {
	for _, p := range []string{r.Host, r.Path} {
		if wrong := CheckPattern(p); wrong != "" {
			return "its pattern " + wrong
		}
	}
	hosts := groupsOf(r.Host)
	groups := min(hosts+groupsOf(r.Path), maxGroup)
	if wrong := checkReferences(r.Target, groups); wrong != "" {
		return "its target " + wrong
	}
	for pattern, has := range map[string]bool{r.Host: refersTo(r.Target, 1, hosts), r.Path: refersTo(r.Target, hosts+1, maxGroup)} {
		if !has {
			continue
		}
		if wrong := checkExtracted(pattern); wrong != "" {
			return "its pattern " + wrong
		}
	}
	_, path, isURL := strings.Cut(r.Target, "://")
	switch {
	case len(r.Target) > 1024 || strings.ContainsFunc(r.Target, func(c rune) bool { return c <= ' ' || c > '~' }):
		return "its target is no URL"
	case !isURL && !strings.HasPrefix(r.Target, "/"):
		return "its target is neither a URL nor a path"
	case isURL && !strings.HasPrefix(r.Target, "https://") && !strings.HasPrefix(r.Target, "http://"):
		return "its target is neither https:// nor http://"
	}
	if !isURL {
		return ""
	}
	authority, _, _ := strings.Cut(path, "/")
	if strings.ContainsAny(authority, "@?#") {
		return "its target has a user, or no path"
	}
	// A group of the path must not become a part of the host: /old@evil.test would lead anywhere.
	for i := 0; i+1 < len(authority); i++ {
		if authority[i] != '\\' {
			continue
		}
		if n := int(authority[i+1] - '0'); n > hosts && (i+2 < len(authority) || !beginsWithSlash(r.Path, n-hosts)) {
			return "its target takes a part of the path for one of the host"
		}
	}
	return ""
}

// beginsWithSlash reports whether all that a group of an expression matches begins with a slash.
func beginsWithSlash(pattern string, group int) bool {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return false
	}
	var find func(*syntax.Regexp) *syntax.Regexp
	find = func(re *syntax.Regexp) *syntax.Regexp {
		if re.Op == syntax.OpCapture && re.Cap == group {
			return re.Sub[0]
		}
		for _, sub := range re.Sub {
			if found := find(sub); found != nil {
				return found
			}
		}
		return nil
	}
	found := find(parsed)
	if found == nil {
		return false
	}
	// A group that took no part is empty: so it must not be in something that may be left out.
	prefix, _ := regexp.MustCompile(found.String()).LiteralPrefix()
	return strings.HasPrefix(prefix, "/")
}

// CheckPathRewrite says why a rewrite cannot be had; nothing when it can.
func CheckPathRewrite(r sources.PathRewrite) (wrong string) {
	switch {
	case !strings.HasPrefix(r.Pattern, "^/"):
		return "its pattern does not begin with a slash"
	case !strings.HasPrefix(r.Substitution, "/") || strings.ContainsAny(r.Substitution, "?#"):
		return "what it puts in the place is no path"
	case len(r.Substitution) > 1024 || strings.ContainsFunc(r.Substitution, func(c rune) bool { return c <= ' ' || c > '~' }):
		return "what it puts in the place is no path"
	}
	if wrong := CheckPattern(r.Pattern); wrong != "" {
		return "its pattern " + wrong
	}
	if alternatives(r.Pattern) {
		return "its pattern has a | beside which is no parenthesis: write (?:a|b)"
	}
	if wrong := checkReferences(r.Substitution, min(groupsOf(r.Pattern), maxGroup)); wrong != "" {
		return "what it puts in the place " + wrong
	}
	if refersTo(r.Substitution, 1, maxGroup) {
		if wrong := checkGroups(r.Pattern); wrong != "" {
			return "its pattern " + wrong
		}
	}
	return ""
}

// alternatives reports whether an expression is several, of which only the first begins at the beginning of the text.
func alternatives(pattern string) bool {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	return err != nil || parsed.Op == syntax.OpAlternate
}

// pathRewrite reads "PATTERN -> PATH".
func (s *Settings) pathRewrite(value string) {
	if strings.TrimSpace(value) == "" {
		return
	}
	pattern, path, ok := strings.Cut(value, "->")
	rewrite := sources.PathRewrite{Pattern: "^" + strings.TrimPrefix(strings.TrimSpace(pattern), "^"), Substitution: strings.TrimSpace(path)}
	wrong := `write PATTERN -> PATH, such as /v1/(.*) -> /\1`
	if ok {
		wrong = CheckPathRewrite(rewrite)
	}
	if wrong != "" {
		s.problem("%.80q is ignored: %s", strings.TrimSpace(value), wrong)
		return
	}
	s.shaping().PathRewrite = &rewrite
}
