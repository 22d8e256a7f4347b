package hostname

import (
	"slices"
	"testing"
)

func TestWildcards(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, over string
		candidates []string
	}{
		{"a.b.test", "*.b.test", []string{"a.b.test", "*.b.test", "*.test"}},
		{"*.b.test", "", []string{"*.b.test", "*.test"}},
		{"b.test", "*.test", []string{"b.test", "*.test"}},
		{"localhost", "", []string{"localhost"}},
		{"", "", []string{""}},
	} {
		if got := WildcardOver(tt.name); got != tt.over {
			t.Errorf("over %q is %q, want %q", tt.name, got, tt.over)
		}
		if got := Candidates(tt.name); !slices.Equal(got, tt.candidates) {
			t.Errorf("candidates of %q are %q, want %q", tt.name, got, tt.candidates)
		}
	}
	if got := slices.Collect(Parents("a.b.test")); !slices.Equal(got, []string{"b.test", "test"}) {
		t.Errorf("parents are %q", got)
	}
	for parent := range Parents("a.b.test") {
		if parent != "b.test" {
			t.Errorf("went on to %q", parent)
		}
		break
	}
	if parent, ok := CutWildcard(Wildcard("b.test")); parent != "b.test" || !ok {
		t.Errorf("%q, %v", parent, ok)
	}
	if name, ok := CutWildcard("b.test"); name != "b.test" || ok {
		t.Errorf("%q, %v", name, ok)
	}
}
