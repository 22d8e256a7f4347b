package docs_test

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"
)

// linter checks documents against the repository.
type linter struct {
	*repository
	excused map[string]string
	// needed are the excuses that were needed.
	needed map[string]bool
	// seen counts what was checked, by kind.
	seen map[string]int

	page     string
	problems []string
}

// passage is a piece of a document, with the number of its first line.
type passage struct {
	line int
	text string
}

// fence is a block of code.
type fence struct {
	passage
	language string
	// quoted is the file that the line before names.
	quoted string
}

// check returns what is wrong with a document.
func (l *linter) check(page, text string) []string {
	if l.seen == nil {
		l.seen = make(map[string]int)
	}
	l.page, l.problems = page, nil
	paragraphs, fences, closed := split(text)
	if !closed {
		l.fail(strings.Count(text, "\n")+1, "a fence is not closed")
	}
	for _, p := range paragraphs {
		l.checkParagraph(p, text)
	}
	for _, f := range fences {
		l.checkFence(f)
	}
	n, problems := undocumented(text, l.tests)
	l.seen["test"] += n
	for _, p := range problems {
		l.problems = append(l.problems, page+":"+p)
	}
	return l.problems
}

func (l *linter) fail(line int, format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf("%s:%d: ", l.page, line)+fmt.Sprintf(format, args...))
}

var namesFile = regexp.MustCompile("`([^`]+)`:$")

// split parts a document into its paragraphs and its blocks of code.
func split(text string) (paragraphs []passage, fences []fence, closed bool) {
	var block *fence
	var open *passage
	last := ""
	for i, line := range strings.Split(text, "\n") {
		bare := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(bare, "```") && block == nil:
			block, open = &fence{passage: passage{line: i + 2}, language: strings.TrimLeft(bare, "`")}, nil
			if m := namesFile.FindStringSubmatch(last); m != nil && looksLikePath.MatchString(m[1]) {
				block.quoted = m[1]
			}
		case bare == "```":
			fences, block, last = append(fences, *block), nil, ""
		case block != nil:
			block.text += line + "\n"
		case bare == "":
			open = nil
		case open == nil:
			paragraphs = append(paragraphs, passage{i + 1, line})
			open, last = &paragraphs[len(paragraphs)-1], bare
		default:
			open.text, last = open.text+"\n"+line, bare
		}
	}
	return paragraphs, fences, block == nil
}

var (
	codeSpan   = regexp.MustCompile("(?s)``.+?``|`[^`]+`")
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inFile     = regexp.MustCompile("`([A-Za-z_]\\w*)`\\s+in\\s+`([^`]+\\.go)`")
	whitespace = regexp.MustCompile(`\s+`)
)

func (l *linter) checkParagraph(p passage, text string) {
	if strings.Count(p.text, "`")%2 != 0 {
		l.fail(p.line, "a backtick has no partner")
	}
	at := func(offset int) int { return p.line + strings.Count(p.text[:offset], "\n") }
	for _, span := range codeSpan.FindAllStringIndex(p.text, -1) {
		l.checkSpan(at(span[0]), whitespace.ReplaceAllString(strings.Trim(p.text[span[0]:span[1]], "`"), " "))
	}
	for _, m := range inFile.FindAllStringSubmatchIndex(p.text, -1) {
		name, file := p.text[m[2]:m[3]], p.text[m[4]:m[5]]
		if l.seen["name"]++; l.files[file] && !l.declared[file][name] {
			l.fail(at(m[0]), "%s declares no %s", file, name)
		}
	}
	// Code spans hold no links; what is left keeps its place.
	plain := codeSpan.ReplaceAllStringFunc(p.text, func(s string) string { return regexp.MustCompile(`[^\n]`).ReplaceAllString(s, " ") })
	for _, m := range link.FindAllStringSubmatchIndex(plain, -1) {
		l.checkLink(at(m[0]), plain[m[2]:m[3]], text)
	}
}

func (l *linter) checkLink(line int, target, text string) {
	if strings.Contains(target, "://") {
		return
	}
	l.seen["link"]++
	to, heading, hasHeading := strings.Cut(target, "#")
	if to != "" {
		to = path.Join(path.Dir(l.page), to)
		if !l.files[to] && !l.folders[to] {
			l.fail(line, "the link %s leads nowhere", target)
			return
		}
		text = l.texts[to]
	}
	switch {
	case !hasHeading:
	case to != "" && !strings.HasSuffix(to, ".md"):
		l.fail(line, "the link %s names a place in a file, which moves: name the file", target)
	case !anchors(text)[heading]:
		l.fail(line, "%s has no heading #%s", target, heading)
	}
}

// anchors returns what GitHub makes of the headings of a document.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	paragraphs, _, _ := split(text)
	for _, p := range paragraphs {
		for line := range strings.Lines(p.text) {
			hashes, title, found := strings.Cut(strings.TrimSpace(line), " ")
			if !found || hashes == "" || strings.Trim(hashes, "#") != "" {
				continue
			}
			anchor := strings.Map(func(r rune) rune {
				switch {
				case r == ' ':
					return '-'
				case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
					return unicode.ToLower(r)
				}
				return -1
			}, strings.TrimSpace(title))
			first := anchor
			for n := 1; all[anchor]; n++ {
				anchor = fmt.Sprintf("%s-%d", first, n)
			}
			all[anchor] = true
		}
	}
	return all
}

func (l *linter) checkFence(f fence) {
	command := ""
	for i, line := range strings.Split(f.text, "\n") {
		n := f.line + i
		for _, name := range metric.FindAllString(line, -1) {
			l.checkMetric(n, name)
		}
		// A command goes on in the next line after a backslash.
		bare := strings.TrimSpace(line)
		if command == "" {
			command, _, _ = strings.Cut(bare, " ")
		}
		l.checkCommand(n, command, bare)
		if !strings.HasSuffix(bare, `\`) {
			command = ""
		}
	}
	switch {
	case f.quoted != "":
		l.checkQuotation(f)
	case f.language == "go":
		l.fail(f.line, "the Go code names no file: end the line before with a path from the root in backticks and a colon")
	}
}

// checkQuotation compares a block with the file that it is from. A line of
// nothing but … stands for lines that are left out, and the indentation is free.
func (l *linter) checkQuotation(f fence) {
	text, known := l.texts[f.quoted]
	if !known {
		return // the path is not there, which was said, or of no kind that is read
	}
	l.seen["quotation"]++
	rest := "\n" + unindent(text)
	pieces := 0
	for piece := range strings.SplitSeq("\n"+unindent(f.text), "\n…\n") {
		if piece = strings.Trim(piece, "\n"); piece == "" {
			continue
		}
		pieces++
		_, after, found := strings.Cut(rest, "\n"+piece+"\n")
		if !found {
			first, _, _ := strings.Cut(piece, "\n")
			l.fail(f.line, "it is not in %s: %s …", f.quoted, first)
			return
		}
		rest = "\n" + after
	}
	if pieces == 0 {
		l.fail(f.line, "the block quotes nothing of %s", f.quoted)
	}
}

func unindent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}
