package labels

import (
	"strconv"
	"strings"
)

const (
	perSecondUnit = "/s"
	minPerSecond  = 0.1
	maxPerSecond  = 10_000
)

// perSecond reads how often something may be a second; 0 is no limit.
func (s *Settings) perSecond(value string) float64 {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	s.tcp.connections = true
	number, ok := strings.CutSuffix(value, perSecondUnit)
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(n >= minPerSecond && n <= maxPerSecond) {
		s.problem("%.40q is ignored, and there is no limit: write how many a second, from %g%s to %d%s, such as 50%s",
			value, minPerSecond, perSecondUnit, maxPerSecond, perSecondUnit, perSecondUnit)
		return 0
	}
	return n
}
