package labels

import (
	"slices"
	"strings"

	"relay/internal/secret"
	"relay/sources"
)

// show notes how a label is shown to people. What must not be seen is taken out here, so that
// it gets no further. l is what the label is, or was likely meant to be; nil if nobody knows.
func (r *reader) show(key, value string, l *Label) {
	switch {
	case l == nil, len(value) > sources.MaxSettingBytes: // the latter is not read
		value = hidden(value)
	case l.shown != nil:
		value = l.shown(value)
	default:
		value = secret.Mask(value)
	}
	r.shown = append(r.shown, sources.Label{Name: sources.Clip(key), Value: value})
}

// meantBy returns the label that a key which is not known was meant to be, to show it in the
// same way; nil if its own name tells of a secret.
func (r *reader) meantBy(key, meant string) *Label {
	if secret.Named(key) {
		return nil
	}
	if l := known.ofApp(meant); l != nil {
		return l
	}
	split, _ := r.splitKey(meant)
	return split.label
}

// labels returns what people are shown, of so many labels more than were looked at.
func (r *reader) labels(more int) sources.Labels {
	byName := func(a, b sources.Label) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(r.shown, byName) { // those that nearly are ours were read last
		slices.SortFunc(r.shown, byName)
	}
	return sources.NewLabels(r.shown, more)
}

// hidden shows nothing of a value.
func hidden(string) string { return secret.Redacted }

// shownURL shows a URL without its query.
func shownURL(value string) string {
	if before, _, query := strings.Cut(value, "?"); query {
		value = before + "?" + secret.Redacted
	}
	return secret.Mask(value)
}

// namesOnly shows the names of headers that apps alone are sent. A value of any of them may be
// what the app knows Envoy by.
func namesOnly(value string) string {
	return eachHeader(value, func(string, string) string { return secret.Redacted })
}

// publicHeaders shows headers that clients are sent, but for those whose names tell of a secret.
func publicHeaders(value string) string {
	return eachHeader(value, func(name, value string) string {
		if secret.Named(name) {
			return secret.Redacted
		}
		return shownURL(value)
	})
}

// eachHeader shows lines of "Name: value". A line that is none of these is not shown.
func eachHeader(value string, shown func(name, value string) string) string {
	lines := make([]string, 0, 4)
	for line := range strings.SplitSeq(value, "\n") {
		name, text, ok := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case name == "" && !ok:
			continue
		case !ok:
			lines = append(lines, secret.Redacted)
		default:
			lines = append(lines, sources.Clip(name)+": "+shown(name, strings.TrimSpace(text)))
		}
		if len(lines) > MaxHeaders {
			break
		}
	}
	return strings.Join(lines, "\n")
}
