package collatortest

import "relay/sources"

// Matches are what requests may have to be like.
func Matches() []sources.Match {
	return []sources.Match{
		{Scheme: "https"},
		{Headers: []sources.FieldMatch{{Name: ":method", Value: "GET|POST", Regex: true}, {Name: "x-a", Value: "1", Not: true}}},
		{Headers: []sources.FieldMatch{{Name: "x-a"}}, Query: []sources.FieldMatch{{Name: "a", Value: "1"}, {Name: "b", Value: "[0-9]+", Regex: true}, {Name: "c"}}},
		{Query: []sources.FieldMatch{{Name: "a", Value: "1", Not: true}}, NotPaths: []sources.Path{{Prefix: "/a"}, {Prefix: "/b", Exact: true}, {Prefix: "/c", Pattern: "/c[0-9]"}}},
	}
}

// matching adds some of Matches to how a port handles requests, and paths that are no prefixes.
func (r Random) matching(h *sources.HTTP) *sources.HTTP {
	var own sources.HTTP
	if h != nil {
		own = *h
	}
	for _, m := range Matches() {
		if r.IntN(2) == 0 {
			own.Match = append(own.Match, m)
		}
	}
	switch r.IntN(3) {
	case 0:
		own.Paths = []sources.Path{{Prefix: "/a", Exact: true}, {Prefix: "/a"}}
	case 1:
		own.Paths = []sources.Path{{Prefix: "/a/", Pattern: "/a/[0-9]+"}, {Prefix: "/", Exact: true}}
	}
	return &own
}
