package explain

import (
	"testing"

	"relay/sources"
)

func TestMatchWords(t *testing.T) {
	t.Parallel()
	m := sources.Match{
		Scheme:   "https",
		Headers:  []sources.FieldMatch{{Name: ":method", Value: "GET|HEAD", Regex: true}, {Name: "x-a", Value: "1", Not: true}, {Name: "x-b"}},
		Query:    []sources.FieldMatch{{Name: "q", Value: "[0-9]+", Regex: true}},
		NotPaths: []sources.Path{{Prefix: "/a"}, {Prefix: "/b", Exact: true}},
	}
	const want = "by https, of method GET or HEAD, not with the header x-a=1, with the header x-b, with the parameter q like [0-9]+, not for /a*, not for /b"
	if got := matchWords(m); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
