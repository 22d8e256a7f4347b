package collator

import (
	"strings"

	"relay/sources"
)

// What changes requests and answers takes in each route: compressors list what they compress, and an expression of a redirect is in its
// condition, and in each part of the location.
const (
	compressorSize = 700
	corsSize       = 600
	extractSize    = 100
	mirrorSize     = 300
	// copiedSize is two more routes, for requests that are not copied.
	copiedSize = 2 * (routeSize + filterSize)
	// escapedSize is how long a byte may be in a literal of an expression.
	escapedSize = 4
)

// shapingSize is what a route takes for what is changed of requests and answers, the routes of redirects included.
func shapingSize(s *sources.Shaping) int {
	if s == nil {
		return 0
	}
	size := len(s.Host) + len(s.StickyHeader)
	for _, r := range s.Redirects {
		pattern := len(r.Host) + len(r.Path)
		size += routeSize + pattern + len(r.Target) + (1+strings.Count(r.Target, `\`))*(extractSize+escapedSize*pattern)
	}
	if r := s.PathRewrite; r != nil {
		size += entrySize + len(r.Pattern) + len(r.Substitution)
	}
	if c := s.CORS; c != nil {
		size += corsSize
		for _, origin := range c.Origins {
			// In the route, and in that for preflight requests.
			size += 2 * (extractSize + escapedSize*len(origin))
		}
		for _, names := range [][]string{c.Methods, c.Headers, c.ExposeHeaders} {
			for _, name := range names {
				size += 2 * len(name)
			}
		}
	}
	if c := s.Compress; c != nil {
		n := len(c.Encodings)
		if n == 0 {
			n = 3
		}
		size += n * compressorSize
		for _, contentType := range c.ContentTypes {
			size += n * len(contentType)
		}
	}
	for _, filter := range []bool{s.StickyHeader != "", s.Fault != nil} {
		if filter {
			size += filterSize
		}
	}
	for _, m := range s.Mirrors {
		size += mirrorSize + len(m.To.App)
	}
	for _, path := range s.Urgent {
		size += len(path)
	}
	if len(s.Mirrors) > 0 {
		size += copiedSize
	}
	return size
}
