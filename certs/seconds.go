package certs

import "time"

// chooseSeconds chooses the second certificate of each name that has a valid one.
func (s *Selection) chooseSeconds(certificates []*Certificate, now time.Time) {
	for _, c := range certificates {
		if c.Kind == KindUnknown || c.ValidAt(now) != Valid {
			continue
		}
		for _, name := range c.ServerNames {
			if c.isBeside(s.Winners[name], now) && isBetter(c, s.Seconds[name], now) {
				s.Seconds[name] = c
			}
		}
		if c.Default && c.isBeside(s.Default, now) && isBetter(c, s.DefaultSecond, now) {
			s.DefaultSecond = c
		}
	}
}

// isBeside reports whether a valid certificate can be served beside the winner.
func (c *Certificate) isBeside(winner *Certificate, now time.Time) bool {
	return winner.Kind != KindUnknown && winner.Kind != c.Kind && winner.ValidAt(now) == Valid
}

// LosesTo says why another certificate is served for a name of both.
func (c *Certificate) LosesTo(other *Certificate, now time.Time) string {
	switch {
	case c.ValidAt(now) < other.ValidAt(now):
		return "this one " + c.Refused(now)
	case c.Remark != "" && other.Remark == "":
		return "nothing is missing in its chain"
	case c.NotAfter.Before(other.NotAfter):
		return "it is valid for longer"
	case sourceRank(other) < sourceRank(c):
		return "of two alike Vault's counts first"
	}
	return "of two alike the one with the lowest fingerprint counts"
}
