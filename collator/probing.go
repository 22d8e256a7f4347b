package collator

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/internal/hostname"
	"relay/internal/probelabel"
	"relay/sources"
)

// AskedDomain is a domain of an app port that is asked from outside.
type AskedDomain struct {
	Name string
	// Fleets are those through which it is asked.
	Fleets []string
	routing.AppPort
	Owner string
	// Probe is what the app says of how; empty for a domain that was chosen by chance, which is asked for Path, a
	// path that is routed to the app.
	Probe, Path string
	// Secure tells that plain HTTP is redirected to HTTPS.
	Secure bool
	// Sleeps tells that the app may sleep.
	Sleeps bool
}

// AskedService is a TCP service that is asked from outside, or, without Probe, one that must not be while its app may
// sleep: a virtual device of the settings could ask it.
type AskedService struct {
	routing.AppPort
	Owner, Probe string
	// Fleets are those that serve the port.
	Fleets []string
	// Port has what is said of the service, as it is routed.
	Port  sources.Port
	State DomainState
	// Sleeps tells that the app may sleep.
	Sleeps bool
}

// noteAsked notes whether an app says how it is asked. The caller holds the lock.
func (x *catalog) noteAsked(app *sources.App) {
	if slices.ContainsFunc(app.Ports, func(p sources.Port) bool { return asked(app, p) }) {
		x.asked[app.ID] = struct{}{}
	} else {
		delete(x.asked, app.ID)
	}
}

// asked reports whether a port says how it is asked, or is one of which has to be known that it sleeps.
func asked(app *sources.App, p sources.Port) bool {
	if p.Probe == "" {
		return routing.IsTCP(p) && routing.MaySleep(app)
	}
	return p.Probe != string(probelabel.Off)
}

// Asked returns the domains and TCP services of apps that say how they are asked, ordered. It costs by the number
// of those.
func (c *Collator) Asked() (domains []AskedDomain, services []AskedService) {
	x := c.catalog
	x.mu.Lock()
	apps := make([]*sources.App, 0, len(x.asked))
	for _, id := range slices.Sorted(maps.Keys(x.asked)) {
		apps = append(apps, x.byID[id].app)
	}
	x.mu.Unlock()
	seen := make(map[[2]string]bool) // by domain and label: the apps of a deployment group say the same
	for _, app := range apps {
		for i, port := range app.Ports {
			fleets := c.fleetsOf(port)
			switch {
			case !asked(app, port) || len(fleets) == 0:
			case routing.IsTCP(port):
				services = append(services, c.askedService(app, i, fleets))
			default:
				for _, name := range port.Domains {
					if by := [2]string{name, port.Probe}; !strings.HasPrefix(name, "*.") && !seen[by] {
						seen[by] = true
						domains = append(domains, askedDomain(app, i, name, fleets))
					}
				}
			}
		}
	}
	slices.SortStableFunc(domains, func(a, b AskedDomain) int { return strings.Compare(a.Name, b.Name) })
	return domains, services
}

func askedDomain(app *sources.App, i int, name string, fleets []string) AskedDomain {
	port := app.Ports[i]
	return AskedDomain{
		Name: name, Fleets: fleets, AppPort: routing.AppPort{App: app.ID, Port: i}, Owner: app.Owner, Probe: port.Probe, Path: pathOf(port),
		Secure: port.RedirectToHTTPS, Sleeps: routing.MaySleep(app),
	}
}

func (c *Collator) askedService(app *sources.App, i int, fleets []string) AskedService {
	c.mu.RLock()
	routed := c.shown(app.ID).merged
	c.mu.RUnlock()
	if routed == nil || i >= len(routed.Ports) {
		routed = app
	}
	s := AskedService{
		AppPort: routing.AppPort{App: app.ID, Port: i}, Owner: app.Owner, Probe: app.Ports[i].Probe, Fleets: fleets,
		Port: routed.Ports[i], State: StateServed, Sleeps: routing.MaySleep(app),
	}
	switch {
	case len(s.Port.Endpoints) > 0:
	case routed.Gated:
		s.State = StateAsleep
	case routed.Stopped:
		s.State = StateStopped
	default:
		s.State = StateWithoutTask
	}
	return s
}

// pathOf returns a path that a port is asked for.
func pathOf(port sources.Port) string {
	if port.HTTP == nil || len(port.HTTP.Paths) == 0 {
		return ""
	}
	return port.HTTP.Paths[0].Prefix // of a pattern, that is where it begins
}

// Sample returns up to n domains of each fleet, or only of one, that are served and were chosen by chance, ordered. It
// is the same everywhere for an epoch, and the next epoch has another domain in place of one in epochsUntilAll. Those
// of which the app says how they are asked, or that nobody is to ask, are left out; so are those for which clients need
// a password or an address, and wildcards.
func (c *Collator) Sample(n int, epoch uint64, only string) []AskedDomain {
	if n <= 0 {
		return nil
	}
	chosen := make(map[string]*lowest)
	for _, f := range c.fleets {
		if only == "" || f.Name == only {
			chosen[f.Name] = &lowest{most: n}
		}
	}
	for _, e := range c.DomainEntries() {
		key := sampleKey(e.Name, epoch)
		for _, fleet := range e.Fleets {
			l := chosen[fleet]
			if l == nil || !l.takes(key) {
				continue
			}
			if d, ok := c.sampled(e, fleet); ok {
				l.add(key, d)
			}
		}
	}
	byDomain := make(map[routing.AppPort]map[string]*AskedDomain)
	for _, fleet := range slices.Sorted(maps.Keys(chosen)) {
		for _, one := range chosen[fleet].all {
			of := byDomain[one.AppPort]
			if of == nil {
				of = make(map[string]*AskedDomain)
				byDomain[one.AppPort] = of
			}
			if of[one.Name] == nil {
				of[one.Name] = new(one.AskedDomain)
			}
			of[one.Name].Fleets = append(of[one.Name].Fleets, fleet)
		}
	}
	var all []AskedDomain
	for _, of := range byDomain {
		for _, d := range of {
			all = append(all, *d)
		}
	}
	slices.SortFunc(all, func(a, b AskedDomain) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.AppPort.Compare(b.AppPort))
	})
	return all
}

// sampled returns a domain if it may be asked in a fleet though its app does not say how. The Fleets are left out.
func (c *Collator) sampled(e *DomainEntry, fleet string) (d AskedDomain, ok bool) {
	state := c.DomainState(e)
	if strings.HasPrefix(e.Name, "*.") || hostname.IsAddress(e.Name) || state != StateServed && state != StateWithoutCertificate {
		return d, false
	}
	x := c.catalog
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, claim := range x.claims[e.Name] {
		app := x.byID[claim.App].app
		if app == nil || claim.Port >= len(app.Ports) || !slices.Contains(claim.fleets, fleet) {
			continue
		}
		port := app.Ports[claim.Port]
		if port.Probe != "" { // it is asked in another way, or shall not be
			return d, false
		}
		if !open(app, port) || len(port.Endpoints) == 0 || state == StateWithoutCertificate && port.RedirectToHTTPS {
			continue
		}
		// One that takes all paths is asked rather than one that takes some.
		if one := askedDomain(app, claim.Port, e.Name, nil); !ok || d.Path != "" && one.Path == "" {
			d, ok = one, true
		}
	}
	return d, ok
}

// open reports whether everybody gets an answer of the app.
func open(app *sources.App, port sources.Port) bool {
	h := port.HTTP
	return !app.Maintenance && !routing.IsTCP(port) && (h == nil || (h.Paths == nil || len(h.Paths) > 0) && len(h.Match) == 0 && !h.Closed && h.BasicAuth == nil && h.SignOn == nil && len(h.AllowedNetworks) == 0)
}

// epochsUntilAll is in how many epochs a sample is another one altogether. Each time a part of it is, so that not all
// of it is new at one moment.
const epochsUntilAll = 16

// sampleKey is by what a domain is chosen: those with the lowest are. It is the same on all machines and with all
// versions, as several places ask and have to agree.
func sampleKey(name string, epoch uint64) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	h = mixed(h)
	return mixed(h ^ (epoch+h%epochsUntilAll)/epochsUntilAll*0x9e3779b97f4a7c15)
}

// mixed spreads bits, as MurmurHash3 does in the end.
func mixed(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
