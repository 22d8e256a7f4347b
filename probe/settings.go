package probe

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/blackbox_exporter/config"

	"relay/admin/api"
)

// Settings are those of a file of probes. What is 0 or empty has its default after Parse.
type Settings struct {
	// Place is the name of where it is asked from, which is in metrics, in answers of the API and in the header of requests.
	Place string `yaml:"place"`
	// Interval is how often each target is asked that was not chosen by chance.
	Interval time.Duration `yaml:"interval"`
	// Timeout is how long a probe may take, if its target says no longer time.
	Timeout time.Duration `yaml:"timeout"`
	// Rate is how many probes a minute there are at most. Where that is not enough, targets are asked less often.
	Rate int `yaml:"rate"`
	// Concurrency is how many probes run at once at most.
	Concurrency int `yaml:"concurrency"`
	// MaxTargets is how many targets are asked at most; those that were chosen by chance are left out first.
	MaxTargets int `yaml:"max-targets"`
	// Sample says how many domains are chosen by chance.
	Sample Sample `yaml:"sample"`
	// Fleets are those that are asked; all if empty.
	Fleets []string `yaml:"fleets"`
	// Envoys are the Envoys of a fleet, where they are not at the addresses from which they connect to Relay.
	Envoys map[string][]EnvoyAddress `yaml:"envoys"`
	// CAFile has the authorities of the certificates; the system's if empty.
	CAFile string `yaml:"ca-file"`
	// Modules are as blackbox_exporter has them. Redirects are not followed, whatever they say.
	Modules map[string]config.Module `yaml:"modules"`
	// ModuleApps says whose labels may name a module, by its name: apps, or how their ids begin, with * at the end. Without
	// an entry, those of all apps may name a module that has no credentials, and those of none one that has.
	ModuleApps map[string][]string `yaml:"module-apps"`
	// Targets are asked beside what Relay knows, and through no Envoy.
	Targets []StaticTarget `yaml:"targets"`
	// Devices are virtual devices. Callback is where their agents reach this probe.
	Devices  []DeviceSettings `yaml:"devices"`
	Callback CallbackSettings `yaml:"callback"`
}

// Sample says what is chosen by chance among the domains of a fleet that have no label.
type Sample struct {
	// Domains is how many of each fleet; 0 for none. A number that is larger than there are chooses all.
	Domains int `yaml:"domains"`
	// Interval is how often each is asked. Change is how long the same are asked.
	Interval time.Duration `yaml:"interval"`
	Change   time.Duration `yaml:"change"`
}

// EnvoyAddress is where an Envoy listens, as seen from the probe.
type EnvoyAddress struct {
	// ID is its node.id; the address if empty.
	ID string `yaml:"id"`
	// Address is an IP address or a name of a host. HTTP and HTTPS are ports; those of the fleet if 0.
	Address string `yaml:"address"`
	HTTP    uint16 `yaml:"http"`
	HTTPS   uint16 `yaml:"https"`
}

// StaticTarget is something that is asked by a module, such as a server of names.
type StaticTarget struct {
	Name   string `yaml:"name"`
	Module string `yaml:"module"`
	// Address is HOST:PORT.
	Address string `yaml:"address"`
	// Domain is asked for, and expected in the certificate; empty for what Address says.
	Domain string `yaml:"domain"`
	TLS    bool   `yaml:"tls"`
	// Path is that of HTTP.
	Path  string `yaml:"path"`
	Owner string `yaml:"owner"`
}

// The bounds of settings.
const (
	minInterval    = 5 * time.Second
	maxInterval    = 24 * time.Hour
	maxTimeout     = time.Minute
	maxRate        = 60_000
	maxConcurrency = 1000
	maxTargets     = 50_000
	maxModules     = 1000
	maxStatic      = 1000
)

// DefaultSettings are those of an empty file.
func DefaultSettings() Settings {
	return Settings{
		Interval: 30 * time.Second, Timeout: 10 * time.Second, Rate: 1000, Concurrency: 50, MaxTargets: 20_000,
		Sample: Sample{Interval: 10 * time.Minute, Change: 6 * time.Hour},
	}
}

// Epoch numbers the time in which the same domains are chosen by chance. In each epoch a part of them is another, so that
// each is asked for about the time that the settings say.
func (s Settings) Epoch(now time.Time) int64 {
	return now.UnixNano() / int64(cmp.Or(s.Sample.Change, DefaultSettings().Sample.Change)/api.ProbeEpochs)
}

// Asks reports whether a fleet is asked.
func (s Settings) Asks(fleet string) bool {
	return len(s.Fleets) == 0 || slices.Contains(s.Fleets, fleet)
}

// ModuleKind returns the kind of a module; false if there is none of this name.
func (s Settings) ModuleKind(name string) (Kind, bool) {
	m, ok := s.Modules[name]
	return Kind(m.Prober), ok
}

// Static returns the targets of the settings that are asked through no Envoy.
func (s Settings) Static() []Target {
	targets := make([]Target, 0, len(s.Targets))
	for _, t := range s.Targets {
		kind, _ := s.ModuleKind(t.Module)
		host, _, _ := net.SplitHostPort(t.Address) // was checked
		targets = append(targets, Target{
			ID: "//" + t.Name, Name: t.Name, Kind: kind, Address: t.Address, TLS: t.TLS, ServerName: cmp.Or(t.Domain, host),
			Domain: t.Domain, Owner: t.Owner, Ask: Ask{Module: t.Module, Path: t.Path},
		})
	}
	return targets
}

// check returns all that is wrong with settings.
func (s Settings) check() error {
	errs := []error{
		between("interval", s.Interval, minInterval, maxInterval),
		between("timeout", s.Timeout, 100*time.Millisecond, maxTimeout),
		between("rate", s.Rate, 1, maxRate),
		between("concurrency", s.Concurrency, 1, maxConcurrency),
		between("max-targets", s.MaxTargets, 1, maxTargets),
		between("sample: domains", s.Sample.Domains, 0, api.MaxProbed),
		between("sample: interval", s.Sample.Interval, minInterval, maxInterval),
		between("sample: change", s.Sample.Change, time.Minute, 30*24*time.Hour),
		between("the number of modules", len(s.Modules), 0, maxModules),
		between("the number of targets", len(s.Targets), 0, maxStatic),
	}
	if s.Place != "" && !place.MatchString(s.Place) {
		errs = append(errs, errors.New("place: it has 1 to 64 letters, digits, dots, underscores and hyphens"))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Modules)) {
		if err := checkModule(s.Modules[name]); err != nil {
			errs = append(errs, fmt.Errorf("module %.80q: %w", name, err))
		}
	}
	errs = append(errs, s.checkModuleApps(), s.checkTargets(), s.checkEnvoys(), checkDevices(s.Devices, s.Callback))
	return errors.Join(errs...)
}

// place is what names a place: it is the value of a header and of a label.
var place = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// ValidPlace reports whether a place may have this name.
func ValidPlace(name string) bool { return place.MatchString(name) }

func between[T cmp.Ordered](name string, value, least, most T) error {
	if value < least || value > most {
		return fmt.Errorf("%s: %v is not between %v and %v", name, value, least, most)
	}
	return nil
}

func checkModule(m config.Module) error {
	switch Kind(m.Prober) {
	case HTTP, TCP, GRPC:
	case DNS:
		if m.DNS.QueryName == "" {
			return errors.New("dns: query_name is missing")
		}
	default:
		return fmt.Errorf("prober: it is %.40q, and can be http, tcp, grpc or dns", m.Prober)
	}
	if m.Timeout < 0 || m.Timeout > maxTimeout {
		return fmt.Errorf("timeout: %v is not between 0 and %v", m.Timeout, maxTimeout)
	}
	return nil
}

func (s Settings) checkTargets() error {
	var errs []error
	names := make(map[string]bool)
	for i, t := range s.Targets {
		_, known := s.Modules[t.Module]
		switch {
		case t.Name == "" || len(t.Name) > 100 || names[t.Name]:
			errs = append(errs, fmt.Errorf("targets: the name of number %d, %.100q, is empty, too long or there already", i+1, t.Name))
		case !known:
			errs = append(errs, fmt.Errorf("targets: %.100q: there is no module %.80q", t.Name, t.Module))
		case !hasPort(t.Address):
			errs = append(errs, fmt.Errorf("targets: %.100q: address: %.100q is not HOST:PORT", t.Name, t.Address))
		}
		names[t.Name] = true
	}
	return errors.Join(errs...)
}

func (s Settings) checkEnvoys() error {
	var errs []error
	for _, fleet := range slices.Sorted(maps.Keys(s.Envoys)) {
		ids := make(map[string]bool)
		for i, e := range s.Envoys[fleet] {
			id := cmp.Or(e.ID, e.Address)
			if ids[id] {
				errs = append(errs, fmt.Errorf("envoys: fleet %.80q: number %d: %.100q is there already: give each an id of its own", fleet, i+1, id))
			}
			ids[id] = true
			if e.Address == "" || net.ParseIP(e.Address) == nil && !hostName.MatchString(e.Address) {
				errs = append(errs, fmt.Errorf("envoys: fleet %.80q: number %d: %.100q is no address and no name of a host", fleet, i+1, e.Address))
			}
		}
	}
	return errors.Join(errs...)
}

// hostName is loose: the resolver knows better.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$`)

func hasPort(address string) bool {
	host, port, err := net.SplitHostPort(address)
	n, wrong := strconv.ParseUint(port, 10, 16)
	return err == nil && wrong == nil && n > 0 && host != ""
}
