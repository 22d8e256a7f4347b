package scenario

import (
	"context"
	"time"
)

const (
	// eventEvery is the time between two events of the demo.
	eventEvery = 15 * time.Second
	// headerEvery is after how many rows the header of the table is repeated.
	headerEvery = 20
)

// Demo has a scenario go on until the context ends, with a row of figures a second, or with keys that break something.
func Demo(ctx context.Context, s *Scenario, settings Settings) error {
	r, err := Start(ctx, s, settings)
	defer r.Stop()
	if err != nil {
		return err
	}
	if err := r.try(s.Live); err != nil {
		return err
	}
	r.Say("%s", s.Title)
	if len(s.Keys) > 0 {
		r.guide()
		r.clients.Go(r.press)
		return r.changes()
	}
	r.Say("status page: http://%s", r.admin)
	r.Say("Marathon:    %s", r.Marathon.URL())
	r.Say("Envoy:       HTTP %s, HTTPS %s, admin http://%s", r.http, r.https, r.bed.EnvoyAdmin)
	for name, port := range r.ports {
		r.Say("             %s at 127.0.0.1:%s", name, port)
	}
	r.Say("Ctrl-C ends it. Something happens every %s.", eventEvery)
	r.clients.Go(r.happen)
	return r.watch()
}

// watch prints the table until the context or a part ends.
func (r *Run) watch() error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := time.Now()
	for n := 0; ; n++ {
		select {
		case <-r.ctx.Done():
			r.Say("stopping")
			return nil
		case now := <-tick.C:
			if err := r.ended(); err != nil {
				return err
			}
			if n%headerEvery == 0 {
				r.Say("%s", header)
			}
			r.Say("%s", r.Figures.row(now, now.Sub(last)))
			last = now
		}
	}
}

// happen has the events happen in turn.
func (r *Run) happen() {
	for n := 0; len(r.scenario.Events) > 0 && Pause(r.ctx, eventEvery); n++ {
		event := r.scenario.Events[n%len(r.scenario.Events)]
		r.Say("-- %s", event.Text)
		if err := event.Do(r); err != nil && r.ctx.Err() == nil {
			r.Say("-- %v", err)
		}
	}
}
