package docs_test

import (
	"path"
	"regexp"
	"strings"
)

var (
	metric        = regexp.MustCompile(`\brelay_[a-z0-9_]+\b`)
	perTime       = regexp.MustCompile(`^[\d.]+/s$`)
	looksLikePath = regexp.MustCompile(`^\.?\w[\w.-]*(/[\w.*-]+)*/?$`)
	secretFile    = regexp.MustCompile(`\.(pem|key|crt)$`)
	extension     = regexp.MustCompile(`\.(go|md|json|yaml)$`)
	goName        = regexp.MustCompile(`^([a-z]\w*)\.([A-Za-z]\w*(?:\.[A-Z]\w*)?)(?:\(\))?$`)
	flag          = regexp.MustCompile(`(?:^|\s)--([a-z][a-z0-9-]*)`)
	variable      = regexp.MustCompile(`^([A-Z]+)=`)
	target        = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

// checkSpan checks what stands between backticks in the text.
func (l *linter) checkSpan(line int, span string) {
	for _, name := range metric.FindAllString(span, -1) {
		l.checkMetric(line, name)
	}
	command, _, _ := strings.Cut(span, " ")
	switch {
	case testFunction.MatchString(span):
		// undocumented looks at these.
	case strings.HasPrefix(span, "--"):
		l.checkFlags(line, span)
	case strings.Contains(span, " "):
		l.checkCommand(line, command, span)
	case perTime.MatchString(span):
		// a rate, such as 50/s
	case looksLikePath.MatchString(span) && (strings.Contains(span, "/") || extension.MatchString(span)):
		l.checkPath(line, span)
	default:
		l.checkName(line, span)
	}
}

func (l *linter) excuse(span string) bool {
	_, found := l.excused[span]
	if found {
		l.needed[span] = true
	}
	return found
}

func (l *linter) checkMetric(line int, name string) {
	l.seen["metric"]++
	for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
		if l.metrics[strings.TrimSuffix(name, suffix)] {
			return
		}
	}
	l.fail(line, "there is no metric %s", name)
}

// checkCommand checks a line of a command that this project has.
func (l *linter) checkCommand(line int, command, text string) {
	switch command {
	case "make":
		l.checkMake(line, text)
	case "relay", "bin/relay":
		l.checkFlags(line, text)
	case "go":
		for word := range strings.FieldsSeq(text) {
			if dir, found := strings.CutPrefix(word, "./"); found && dir != "..." {
				l.checkPath(line, strings.TrimSuffix(dir, "/..."))
			}
		}
	}
}

func (l *linter) checkMake(line int, text string) {
	text, _, _ = strings.Cut(text, "#")
	for _, word := range strings.Fields(text)[1:] {
		l.seen["target"]++
		if m := variable.FindStringSubmatch(word); m != nil && !l.targets[m[1]] {
			l.fail(line, "the Makefile has no variable %s", m[1])
		}
		if target.MatchString(word) && !l.targets[word] {
			l.fail(line, "the Makefile has no target %s", word)
		}
	}
}

func (l *linter) checkFlags(line int, text string) {
	for _, m := range flag.FindAllStringSubmatch(text, -1) {
		l.seen["flag"]++
		if name := m[1]; name != "help" && !l.flags[name] && !(strings.HasPrefix(text, "--") && l.excuse("--"+name)) {
			l.fail(line, "relay has no flag --%s", name)
		}
	}
}

// checkPath checks a path from the root. It may have stars.
func (l *linter) checkPath(line int, span string) {
	l.seen["path"]++
	name := strings.TrimSuffix(span, "/")
	if l.files[name] || l.folders[name] || l.excuse(span) {
		return
	}
	if strings.Contains(name, "*") {
		for file := range l.files {
			if matched, err := path.Match(name, file); matched && err == nil {
				return
			}
		}
	}
	l.fail(line, "there is no file or folder %s (paths are from the root)", span)
}

// checkName checks a name of Go, package.Name. Names that begin with a small
// letter are looked at in packages of this module alone: a host looks alike.
func (l *linter) checkName(line int, span string) {
	m := goName.FindStringSubmatch(span)
	if m == nil || secretFile.MatchString(span) || l.excuse(span) {
		return
	}
	pkg, name := m[1], m[2]
	switch {
	case l.packages[pkg]:
		if l.seen["name"]++; !l.declared[pkg][name] {
			l.fail(line, "the package %s has no %s", pkg, name)
		}
	case name[0] >= 'A' && name[0] <= 'Z':
		l.fail(line, "there is no package %s, for %s", pkg, span)
	}
}
