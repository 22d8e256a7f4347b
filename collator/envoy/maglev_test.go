package envoy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"relay/collator/envoy"
)

// maglev is the table that Envoy makes for slots, and which slot has each of its entries. See
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#maglev
func maglev(size int, slots []int) []int { return maglevOf(size, slots, envoy.HashKeyOf) }

// maglevOf is the same for slots that are called otherwise.
func maglevOf(size int, slots []int, keyOf func(int) string) []int {
	type row struct {
		key                    string
		slot, offset, skip, at int
	}
	hash := func(text string, seed uint64) uint64 {
		d := xxhash.NewWithSeed(seed)
		_, _ = d.WriteString(text)
		return d.Sum64()
	}
	rows := make([]row, len(slots))
	for i, slot := range slots {
		key := keyOf(slot)
		rows[i] = row{key, slot, int(hash(key, 0) % uint64(size)), int(hash(key, 1)%uint64(size-1)) + 1, 0}
	}
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.key, b.key) })
	table := make([]int, size)
	for filled := 0; ; {
		for i := range rows {
			r := &rows[i]
			entry := func() int { return (r.offset + r.skip*r.at) % size }
			for table[entry()] != 0 {
				r.at++
			}
			table[entry()] = r.slot
			if filled++; filled == size {
				return table
			}
		}
	}
}

// The names of slots and the size of the table keep what is promised, for 2 to 100 instances. With -v it shows the figures of
// other sizes too.
func TestFewIDsMove(t *testing.T) {
	t.Parallel()
	sizes := []int{envoy.MaglevSize}
	if testing.Verbose() {
		sizes = []int{16381, envoy.MaglevSize, 65537}
	}
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			var up10, down10, others, uneven float64
			slots := []int{1}
			for n := 2; n <= 100; n++ {
				slots = append(slots, n)
				before := maglev(size, slots)
				share := 100 / float64(n)
				shares := make([]float64, n+1)
				for _, slot := range before {
					shares[slot] += 100 / float64(size)
				}
				uneven = max(uneven, (slices.Max(shares[1:])-slices.Min(shares[1:]))/share)
				more := entriesMoved(before, maglev(size, append(slices.Clone(slots), n+1)))
				others = max(others, more-100/float64(n+1))
				gone := []int{n}
				if n == 10 {
					gone, up10 = slots, more
				}
				for _, slot := range gone {
					less := entriesMoved(before, maglev(size, slices.DeleteFunc(slices.Clone(slots), func(s int) bool { return s == slot })))
					others = max(others, less-shares[slot])
					if n == 10 {
						down10 = max(down10, less)
					}
				}
			}
			t.Logf("10 -> 11 %.2f %%, 10 -> 9 %.2f %%, of the others' at most %.2f %%, shares differ by %.2f %% of one", up10, down10, others, 100*uneven)
			if size == envoy.MaglevSize && (up10 > 10 || down10 > 12 || others > 1 || uneven > 0.01) {
				t.Error("that is more than promised")
			}
		})
	}
}

// entriesMoved returns how many percent of the entries differ.
func entriesMoved(a, b []int) float64 {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return 100 * float64(n) / float64(len(a))
}
