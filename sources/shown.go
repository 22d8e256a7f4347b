package sources

import (
	"iter"
	"slices"
	"strings"
)

const (
	// MaxLabelBytes is how much people are shown of the name and value of a label, and
	// MaxLabelsBytes of all labels of an app.
	MaxLabelBytes, MaxLabelsBytes = 1000, 4 << 10
	// betweenLabels separates names and values. In those it is replaced.
	betweenLabels = "\x00"
)

// Labels are the labels of an app that are for Relay, as people are shown them: without
// secrets, and bounded. They are kept as one text, since there are many apps, and many have
// short labels. The zero value has none.
type Labels struct {
	text string
	more int
}

// Label is one of Labels. Its Value has no secret in it.
type Label struct{ Name, Value string }

// NewLabels keeps what is shown of a list, in its order. There may be more labels than are in it.
func NewLabels(list []Label, more int) Labels {
	texts, size := make([]string, 0, 2*len(list)), 0
	for i, l := range list {
		name, value := shownOfLabel(l.Name), shownOfLabel(l.Value)
		if size += len(name) + len(value) + 2; size > MaxLabelsBytes {
			more += len(list) - i
			break
		}
		texts = append(texts, name, value)
	}
	return Labels{strings.Join(texts, betweenLabels), more}
}

func shownOfLabel(text string) string {
	return strings.ReplaceAll(clip(text, MaxLabelBytes), betweenLabels, "�")
}

// All returns the labels that are shown.
func (l Labels) All() iter.Seq[Label] {
	return func(yield func(Label) bool) {
		for text := l.text; text != ""; {
			var one Label
			one.Name, text, _ = strings.Cut(text, betweenLabels)
			one.Value, text, _ = strings.Cut(text, betweenLabels)
			if !yield(one) {
				return
			}
		}
	}
}

// With returns these and further labels, ordered by name.
func (l Labels) With(further []Label) Labels {
	all := append(slices.Collect(l.All()), further...)
	slices.SortStableFunc(all, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	return NewLabels(all, l.more)
}

// More is how many labels are not shown.
func (l Labels) More() int { return l.more }

// Equal reports whether both are shown alike.
func (l Labels) Equal(other Labels) bool { return l == other }
