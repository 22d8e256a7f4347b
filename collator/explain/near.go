package explain

import (
	"cmp"
	"slices"
	"strings"

	"relay/sources"
)

// nearest is how many names are worth a suggestion.
const nearest = 5

// near returns the names that are likely meant by one that is not known, the
// likeliest first: those with few letters changed, and those that contain it.
func near(wanted string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	wanted = strings.ToLower(strings.Trim(wanted, "/."))
	if wanted == "" {
		return nil
	}
	limit := max(2, len(wanted)/4)
	var found []candidate
	for _, name := range names {
		plain := strings.ToLower(strings.Trim(name, "/"))
		d := limit + 1
		if abs(len(plain)-len(wanted)) <= limit {
			d = sources.EditDistance(wanted, plain)
		}
		if d > limit && (strings.Contains(plain, wanted) || len(plain) > 3 && strings.Contains(wanted, plain)) {
			d = limit
		}
		if d <= limit {
			found = append(found, candidate{name, d})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	var all []string
	for _, c := range found[:min(len(found), nearest)] {
		all = append(all, c.name)
	}
	return all
}

func abs(n int) int { return max(n, -n) }
