package web

import (
	"fmt"
	"strings"
	"time"

	"relay/statuspage"
)

// now is when the samples are of.
var now = time.Date(2026, 11, 30, 17, 5, 42, 0, time.UTC)

// days are 90 days until now, without trouble but for those that are given, counted back from today.
func days(trouble map[int]statuspage.Day) []statuspage.Day {
	all := make([]statuspage.Day, 90)
	for i := range all {
		back := 89 - i
		day, ok := trouble[back]
		if !ok {
			day.State = statuspage.Up
		}
		day.Date = now.AddDate(0, 0, -back).Format(time.DateOnly)
		all[i] = day
	}
	return all
}

func ptr[T any](v T) *T { return &v }

func up(name, group, about string, uptime float64, trouble map[int]statuspage.Day) statuspage.Service {
	return statuspage.Service{Name: name, Group: group, Description: about, State: statuspage.Up, Since: now.AddDate(0, 0, -3), Days: days(trouble), Uptime: &uptime}
}

func down(seconds float64) statuspage.Day {
	return statuspage.Day{State: statuspage.Down, Down: seconds}
}

func degraded(seconds float64) statuspage.Day {
	return statuspage.Day{State: statuspage.Degraded, Degraded: seconds}
}

// wellView has nothing to say but of the past.
func wellView() statuspage.View {
	fresh := make(map[int]statuspage.Day)
	for back := 12; back < 90; back++ {
		fresh[back] = statuspage.Day{State: statuspage.Unknown}
	}
	return statuspage.View{
		Title: "Example Cloud Status", URL: "https://status.example.com", Time: now, State: statuspage.Up,
		Services: []statuspage.Service{
			up("Website", "", "Shop, account and help pages", 0.999984, map[int]statuspage.Day{34: degraded(1260)}),
			up("Sign-in", "", "", 1, nil),
			up("Devices connect", "Devices", "Phones, gateways and meters over mutual TLS", 0.99931, map[int]statuspage.Day{9: down(5400), 10: {State: statuspage.Down, Down: 320, Degraded: 2400}, 55: degraded(600)}),
			up("Messages to devices", "Devices", "", 0.99972, map[int]statuspage.Day{9: down(1980)}),
			up("API for partners", "APIs", "api.example.com", 1, fresh),
		},
		Incidents: []statuspage.Incident{{
			ID: "20261121-devices", Title: "Devices could not connect", Services: []string{"Devices connect", "Messages to devices"}, State: "resolved",
			Begin: now.AddDate(0, 0, -9).Add(-4 * time.Hour), End: now.AddDate(0, 0, -9).Add(-150 * time.Minute),
			Updates: []statuspage.Update{
				{Time: now.AddDate(0, 0, -9).Add(-150 * time.Minute), State: "resolved", Text: "All devices are connected again. Messages that were sent meanwhile have been delivered."},
				{Time: now.AddDate(0, 0, -9).Add(-180 * time.Minute), State: "monitoring", Text: "We moved connections to another network. Devices come back by themselves within 15 minutes."},
				{Time: now.AddDate(0, 0, -9).Add(-4 * time.Hour), State: "investigating", Text: "Some devices cannot connect. We are looking into it."},
			},
		}},
		Maintenance: []statuspage.Incident{{
			ID: "20261202-db", Title: "Move of the database", Services: []string{"Website", "Sign-in"}, State: "scheduled",
			Begin: time.Date(2026, 12, 2, 22, 0, 0, 0, time.UTC), End: time.Date(2026, 12, 2, 23, 30, 0, 0, time.UTC),
			Updates: []statuspage.Update{{Time: now.Add(-26 * time.Hour), State: "scheduled", Text: "Signing in may take a few seconds longer, and the shop is read-only for about five minutes."}},
		}},
	}
}

// troubleView has all states at once.
func troubleView() statuspage.View {
	v := wellView()
	v.State = statuspage.Down
	v.Services[0].State, v.Services[0].Since = statuspage.Degraded, now.Add(-48*time.Minute)
	v.Services[0].Days[89] = degraded(2880)
	v.Services[2].State, v.Services[2].Since = statuspage.Down, now.Add(-51*time.Minute)
	v.Services[2].Days[89], v.Services[2].Uptime = statuspage.Day{State: statuspage.Down, Down: 3060, Degraded: 60}, ptr(0.99885)
	v.Services[4].State, v.Services[4].Since, v.Services[4].Uptime = statuspage.Unknown, now.Add(-7*time.Minute), nil
	v.Incidents = append([]statuspage.Incident{
		{
			ID: "20261130-edge", Title: "Devices in Europe lose their connection", Services: []string{"Devices connect"}, State: "identified", Begin: now.Add(-50 * time.Minute),
			Updates: []statuspage.Update{
				{Time: now.Add(-20 * time.Minute), State: "identified", Text: "A network in Frankfurt loses packets. We are moving devices to Paris.\n\nYou need not do anything: devices connect again by themselves."},
				{Time: now.Add(-45 * time.Minute), State: "investigating", Text: "We see that devices lose their connection, and are looking for the cause."},
			},
		},
		{
			ID: "20261130-slow", Title: "The shop answers slowly", Services: []string{"Website"}, State: "investigating", Begin: now.Add(-30 * time.Minute),
			Updates: []statuspage.Update{{Time: now.Add(-30 * time.Minute), State: "investigating", Text: "Pages take up to five seconds. We are looking into it."}},
		},
	}, v.Incidents...)
	v.Maintenance[0].State, v.Maintenance[0].Begin, v.Maintenance[0].End = "under way", now.Add(-20*time.Minute), now.Add(time.Hour)
	return v
}

// degradedView has one service that is slow.
func degradedView() statuspage.View {
	v := wellView()
	v.State, v.Services[0].State, v.Services[0].Since = statuspage.Degraded, statuspage.Degraded, now.Add(-12*time.Minute)
	v.Services[0].Days[89] = degraded(720)
	v.Maintenance = nil
	return v
}

// newView is a page before anything is known.
func newView() statuspage.View {
	return statuspage.View{Title: "Status", Time: now, State: statuspage.Unknown, Services: []statuspage.Service{{Name: "Website", State: statuspage.Unknown}}}
}

// hostile is what may not get out of its place in a page, a feed or JSON.
const hostile = `"'><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}javascript:alert(3)</title></style>]]><!--` + "\u202egnp.\u200b\x01\x0b\ufffe" + `</a><a href="javascript:alert(6)">x</a>&lt;b&gt;`

// hostileView has it wherever a text can be.
func hostileView() statuspage.View {
	long := hostile + strings.Repeat("averylongnamewithoutaspace", 40)
	v := troubleView()
	v.Title = long
	for i := range v.Services {
		s := &v.Services[i]
		s.Name, s.Description = fmt.Sprint(long, i), long
		if s.Group != "" {
			s.Group = long
		}
		s.Days[3].Date, s.Days[3].State = hostile, statuspage.State(hostile)
	}
	v.Services[1].State = statuspage.State(hostile)
	for _, list := range [][]statuspage.Incident{v.Incidents, v.Maintenance} {
		for i := range list {
			list[i].Title, list[i].Services, list[i].State = long, []string{long, hostile}, hostile
			for u := range list[i].Updates {
				list[i].Updates[u].Text, list[i].Updates[u].State = long, hostile
			}
		}
	}
	v.Incidents[0].ID = "../../" + hostile
	v.Services[0].Uptime = ptr(-1.0)
	return v
}
