// Package plural writes numbers with what they count.
package plural

import "fmt"

// Of is "1 app" or "3 apps". Several is for what is not told by an s, such as "retries".
func Of[N int | uint32 | uint64](n N, one string, several ...string) string {
	switch {
	case n == 1:
		return "1 " + one
	case len(several) > 0:
		return fmt.Sprintf("%d %s", n, several[0])
	}
	return fmt.Sprintf("%d %ss", n, one)
}
