package labels

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"relay/internal/problem"
	"relay/sources"
)

// ownText tells of labels whose values are text that may be anything: a quote is part of it.
// Groups that are no fleet are told by whoever knows the fleets.
func ownText(l *Label) bool {
	return strings.HasSuffix(l.Key, "_GROUP") && !strings.Contains(l.Key, "DEPLOYMENT")
}

// TestSloppyValues holds that of a value with stray white space, quotes or letters in another
// case the intention is understood, or it is told that it is not.
func TestSloppyValues(t *testing.T) {
	t.Parallel()
	declared := []DeclaredPort{{ServicePort: 10001}}
	for _, l := range All() {
		if l.example == "" {
			continue
		}
		key := l.For("0")
		want := Read(labelsWith(l, l.example), declared)
		for name, value := range map[string]string{
			"space": " " + l.example + "\t\n", "no-break space": "\u00a0" + l.example + "\u00a0",
			"quotes": `"` + l.example + `"`, "single quotes": "'" + l.example + "'", "typographic quotes": "“" + l.example + "”", "invisible": l.example + "\u200b", "upper case": strings.ToUpper(l.example),
		} {
			if ownText(l) && !strings.Contains(name, "space") {
				continue
			}
			got := Read(labelsWith(l, value), declared)
			told := slices.ContainsFunc(got.Problems, func(p problem.Problem) bool { return p.Subject == key })
			got.Problems, want.Problems = nil, nil
			got.Shown, want.Shown, got.values, want.values = sources.Labels{}, sources.Labels{}, nil, nil
			switch same := reflect.DeepEqual(got, want); {
			case strings.Contains(name, "space") && (told || !same):
				t.Errorf("%s: %q is not read as %q is", key, value, l.example)
			case name == "upper case": // of some, case is a part
			case !told && !same:
				t.Errorf("%s: %q is neither read as %q is, nor told", key, value, l.example)
			}
		}
	}
}
