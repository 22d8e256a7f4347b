package statuspage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/panics"
)

// How places are read.
const (
	lookEvery = 10 * time.Second
	// After the start they are read more often for a while, as nothing is known then.
	lookFirst    = 2 * time.Second
	startsFor    = 30 * time.Second
	placeTimeout = 10 * time.Second
	// A place with more than manyProbes is asked each askManyEvery.
	manyProbes   = 2000
	askManyEvery = 30 * time.Second
	// maxPlaceProbes bounds what one place may say.
	maxPlaceProbes = 100_000
	// A place is away when it has not answered for this long, or for as many of its own intervals as its probes last.
	awayAfter = time.Minute
)

// answer is what a place says at once.
type answer struct {
	// name is how the place calls itself.
	name     string
	at       time.Time
	interval time.Duration
	// sampleInterval is how often those are asked that were chosen by chance; 0 if it is not known.
	sampleInterval time.Duration
	probes         []seenProbe
	incidents      []api.Incident
}

// reader asks a place. One goroutine calls it.
type reader func(context.Context) (answer, error)

// ownReader asks the probes of this process.
func ownReader(own Probes) reader {
	return func(ctx context.Context) (answer, error) {
		said, err := own(ctx)
		if err != nil {
			return answer{}, err
		}
		a := answer{name: said.Place, at: said.Time, interval: seconds(said.Interval, maxInterval), sampleInterval: seconds(said.SampleInterval, maxSampleInterval)}
		for _, p := range said.Probes[:min(len(said.Probes), maxPlaceProbes)] {
			a.probes = append(a.probes, seenProbe{
				ID: p.ID, Name: p.Name, Kind: p.Kind, Fleet: p.Fleet, Envoy: p.Envoy, Domain: p.Domain, App: p.App,
				Sampled: p.Sampled, Success: p.Success, Late: p.Late, Skipped: p.Skipped, Time: p.Time, Since: p.Since, Duration: p.Duration, Interval: p.Interval,
			})
		}
		return a, nil
	}
}

// The intervals that a place may say are bounded: its results last for a few of them.
const (
	maxInterval       = time.Hour
	maxSampleInterval = 24 * time.Hour
)

func seconds(said float64, most time.Duration) time.Duration {
	return time.Duration(min(max(said, 0), most.Seconds()) * float64(time.Second))
}

// client reads the files of the place. Its errors name the keys of the settings, where a client names flags.
func (s PlaceSettings) client() (*client.Client, error) {
	c, err := client.New(client.Settings{Address: s.URL, TokenFile: s.TokenFile, CA: s.CAFile, Timeout: placeTimeout})
	if err != nil {
		return nil, errors.New(placeKeys.Replace(err.Error()))
	}
	return c, nil
}

var placeKeys = strings.NewReplacer("--admin-token-file", "token-file", "--admin-ca", "ca-file", "--admin", "url")

// CheckPlaces says which files of places cannot be read, for those who look before the start. To a Monitor such a place
// is away until they can.
func (s Settings) CheckPlaces() error {
	var errs []error
	for i, place := range s.Places {
		if _, err := place.client(); err != nil {
			errs = append(errs, fmt.Errorf("places[%d] (%q): %w", i, place.Name, err))
		}
	}
	return errors.Join(errs...)
}

// remoteReader asks a place by its API. The client is made anew after an error, as the token may be another one.
func remoteReader(s PlaceSettings) reader {
	var kept *client.Client
	return func(ctx context.Context) (answer, error) {
		if kept == nil {
			var err error
			if kept, err = s.client(); err != nil {
				return answer{}, err
			}
		}
		a, err := readPlace(ctx, kept)
		if err != nil {
			kept.Close()
			kept = nil
		}
		return a, err
	}
}

func readPlace(ctx context.Context, place *client.Client) (answer, error) {
	a, err := readProbes(ctx, place)
	switch kind := client.KindOf(err); {
	case err != nil && (kind == client.NotFound || kind == client.TooOld): // a Relay without probes may know incidents
		a = answer{at: time.Now()}
	case err != nil:
		return answer{}, err
	case a.at.IsZero():
		return answer{}, errors.New("it does not say when it looked")
	}
	// One without incidents is a place nevertheless: `relay probe` may have no status page.
	if got, err := place.Get(ctx, "incidents", nil); err == nil && got.Found {
		var list api.Incidents
		if err := json.Unmarshal(got.Body, &list); err != nil {
			return answer{}, fmt.Errorf("its incidents cannot be read: %w", err)
		}
		a.incidents = list.Incidents[:min(len(list.Incidents), maxIncidents)]
	}
	return a, nil
}

func readProbes(ctx context.Context, place *client.Client) (a answer, err error) {
	err = place.Pages(ctx, "probes", "probes", nil, maxPlaceProbes, func(page client.Page) error {
		var about api.Probes
		if err := json.Unmarshal(page.Body, &struct {
			Place    *string    `json:"place"`
			Time     *time.Time `json:"time"`
			Interval *float64   `json:"interval"`
			Sample   *float64   `json:"sampleInterval"`
		}{&about.Place, &about.Time, &about.Interval, &about.SampleInterval}); err != nil {
			return err
		}
		a.name, a.at = about.Place, about.Time
		a.interval, a.sampleInterval = seconds(about.Interval, maxInterval), seconds(about.SampleInterval, maxSampleInterval)
		for _, item := range page.Items {
			var p seenProbe
			if err := json.Unmarshal(item, &p); err != nil {
				return err
			}
			a.probes = append(a.probes, p)
		}
		return nil
	})
	return a, err
}

// place is one that asks, with what it said last.
type place struct {
	name string
	read reader

	// told gets the incidents that the place knows.
	told func([]api.Incident)

	mu     sync.Mutex
	last   answer
	lastAt time.Time
	err    error
}

// run asks until the context ends: less often if the answer is a long one, which costs.
func (p *place) run(ctx context.Context) {
	began := time.Now()
	for {
		asked := p.ask(ctx)
		pause := nextLook(time.Since(began))
		if asked > manyProbes {
			pause = askManyEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// nextLook is the time until places are read again, by the time since the start.
func nextLook(sinceStart time.Duration) time.Duration {
	if sinceStart < startsFor {
		return lookFirst
	}
	return lookEvery
}

// ask asks once, and returns how many probes the answer had.
func (p *place) ask(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, placeTimeout)
	defer cancel()
	var a answer
	err := panics.Catch(func() (err error) {
		a, err = p.read(ctx)
		return err
	})
	p.mu.Lock()
	p.err = err
	if err == nil {
		p.last, p.lastAt = a, time.Now()
	}
	p.mu.Unlock()
	if err == nil && len(a.incidents) > 0 {
		p.told(a.incidents)
	}
	return len(a.probes)
}

// observe returns what the place said last, and why it could not be asked since.
func (p *place) observe(now time.Time) (observation, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := observation{place: p.name, at: p.last.at, interval: p.last.interval, sampleInterval: p.last.sampleInterval, probes: p.last.probes}
	o.away = p.lastAt.IsZero() || now.Sub(p.lastAt) > awayAfter
	return o, p.last.name, p.err
}
