package autoscale

import (
	"slices"
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time {
		return time.Unix(1_800_000_000, 0).Add(time.Duration(minute) * time.Minute)
	}
	tasks := []Task{
		{ID: "old", Started: at(0), Ready: true},
		{ID: "young", Started: at(9), Ready: true},
		{ID: "sick", Started: at(5)},
		{ID: "twin-a", Started: at(3), Ready: true},
		{ID: "twin-b", Started: at(3), Ready: true},
		{ID: "staging"},
	}
	youngest := []string{"staging", "sick", "young", "twin-b", "twin-a", "old"}
	oldest := []string{"sick", "staging", "old", "twin-b", "twin-a", "young"}
	for n := -1; n <= 7; n++ {
		k := min(max(n, 0), 6)
		for range 3 {
			if got := Choose(tasks, n, false); !slices.Equal(got, youngest[:k]) {
				t.Errorf("the youngest %d are %v, want %v", n, got, youngest[:k])
			}
			if got := Choose(tasks, n, true); !slices.Equal(got, oldest[:k]) {
				t.Errorf("the oldest %d are %v, want %v", n, got, oldest[:k])
			}
			tasks = append(tasks[1:], tasks[0])
		}
	}
}
