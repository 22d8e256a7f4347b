package passwords

import "time"

// maxDebts is how many debtors are known.
const maxDebts = 50_000

// debts are what some have used up lately. They shrink with time.
type debts[K comparable] struct {
	// limit is how much somebody may owe before the next time, and perSecond by how much that shrinks.
	limit, perSecond float64
	of               map[K]debt
	swept            time.Time
}

type debt struct {
	amount float64
	at     time.Time
}

func newDebts[K comparable](limit, perSecond float64) debts[K] {
	return debts[K]{limit: limit, perSecond: perSecond, of: make(map[K]debt)}
}

// owed returns what somebody owes now.
func (d *debts[K]) owed(k K, now time.Time) float64 {
	known, ok := d.of[k]
	if !ok {
		return 0
	}
	return max(0, known.amount-now.Sub(known.at).Seconds()*d.perSecond)
}

// wait returns after which time somebody owes less than the limit; 0 is now.
func (d *debts[K]) wait(k K, now time.Time) time.Duration {
	over := d.owed(k, now) - d.limit
	if over < 0 {
		return 0
	}
	return time.Duration(over/d.perSecond*float64(time.Second)) + time.Millisecond
}

// add has somebody owe more. When too many owe something, others are let off.
func (d *debts[K]) add(k K, amount float64, now time.Time) {
	if _, ok := d.of[k]; !ok && len(d.of) >= maxDebts {
		d.sweep(now)
		if len(d.of) >= maxDebts {
			return
		}
	}
	d.of[k] = debt{d.owed(k, now) + amount, now}
}

// sweep forgets who owes nothing, every few seconds.
func (d *debts[K]) sweep(now time.Time) {
	if now.Sub(d.swept) < 5*time.Second {
		return
	}
	d.swept = now
	for k := range d.of {
		if d.owed(k, now) == 0 {
			delete(d.of, k)
		}
	}
}
