package certs_test

import (
	"fmt"
	"testing"
	"time"

	"relay/certs"
)

func TestReminder(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		life, age time.Duration
		days      int
		next      time.Duration // age at the next reminder; 0 for none
	}{
		{90 * day, 0, 0, 60 * day},
		{90 * day, 60*day - 1, 0, 60 * day},
		{90 * day, 60 * day, 30, 75 * day},
		{90 * day, 80 * day, 15, 83 * day},
		{90 * day, 83 * day, 7, 89 * day},
		{90 * day, 89 * day, 1, 0},
		{90 * day, 400 * day, 1, 0},
		{3650 * day, 0, 0, 3620 * day},
		{47 * day, 0, 0, 32 * day},
		{47 * day, 32 * day, 15, 40 * day},
		{6 * day, 0, 0, 5 * day},
		{6 * day, 5 * day, 1, 0},
		{day, 0, 0, 0},
		{0, 0, 0, 0},
	} {
		t.Run(fmt.Sprintf("%s of %s", test.age, test.life), func(t *testing.T) {
			c := &certs.Certificate{NotBefore: start, NotAfter: start.Add(test.life)}
			days, next := c.Reminder(start.Add(test.age))
			var want time.Time
			if test.next > 0 {
				want = start.Add(test.next)
			}
			if days != test.days || !next.Equal(want) {
				t.Errorf("got %d days, next %s; want %d, next %s", days, next, test.days, want)
			}
		})
	}
}

func TestInUse(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	certificate := func(source, name string, days int, names ...string) *certs.Certificate {
		return &certs.Certificate{Source: source, Name: name, ServerNames: names, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 0, days)}
	}
	short, long := certificate("dir", "short", 10, "a.test"), certificate("vault", "long", 20, "a.test", "b.test")
	other, fallback := certificate("dir", "other", 5, "c.test"), certificate("dir", "default", 5)
	fallback.Default = true
	got := certs.Select([]*certs.Certificate{short, long, other, fallback}, now).Certificates()
	if len(got) != 3 || got[0] != fallback || got[1] != other || got[2] != long {
		t.Errorf("got %v", got)
	}
}
