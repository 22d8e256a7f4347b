package statuspage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"relay/internal/files"
)

// Settings are what an operator writes of the page: what is on it, and who looks.
type Settings struct {
	// Title is that of the page; "Status" if nothing is written.
	Title string `yaml:"title"`
	// URL is where the public finds the page; feeds need it.
	URL      string            `yaml:"url"`
	Services []ServiceSettings `yaml:"services"`
	// Places are others that ask, besides the probes of this process: Relays and `relay probe`.
	Places []PlaceSettings `yaml:"places"`
	// Thresholds are those of services that have none of their own.
	Thresholds Thresholds `yaml:"thresholds"`
}

// ServiceSettings is a service as the public knows it, and the probes that say how it is. In the patterns, * stands for any
// characters. A probe is of the service if one of Domains, Apps and Probes has it, and one of Fleets, where these
// are given.
type ServiceSettings struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Group       string `yaml:"group"`
	// Domains and Apps are those of probes, Probes their names or ids, Fleets those through which they ask.
	Domains []string `yaml:"domains"`
	Apps    []string `yaml:"apps"`
	Probes  []string `yaml:"probes"`
	Fleets  []string `yaml:"fleets"`
	// Thresholds are those of the settings where they are 0.
	Thresholds Thresholds `yaml:"thresholds"`
	// Slow is how long an answer may take before it counts as a failure that makes the service degraded, but never down.
	// 0 is as long as the probe allows.
	Slow time.Duration `yaml:"slow"`
}

// Thresholds are shares of the probes of a service that fail, in percent, from which it is said to be degraded or down.
type Thresholds struct {
	Degraded int `yaml:"degraded"`
	Down     int `yaml:"down"`
}

// defaultThresholds are those where nothing is written: a tenth, and more than half.
var defaultThresholds = Thresholds{Degraded: 10, Down: 51}

// PlaceSettings is a place that asks.
type PlaceSettings struct {
	Name string `yaml:"name"`
	// URL is its admin endpoint, or where `relay probe` listens.
	URL string `yaml:"url"`
	// TokenFile and CAFile are as --admin-token-file and --admin-ca of the commands.
	TokenFile string `yaml:"token-file"`
	CAFile    string `yaml:"ca-file"`
}

// The limits of the settings. Names get into metrics, and all of it into each page.
const (
	maxSettings    = 1 << 20
	maxServices    = 100
	maxPlaces      = 20
	maxPatterns    = 200
	maxName        = 80
	maxDescription = 300
)

// ReadSettings reads the file. Paths in it may be relative to it.
func ReadSettings(path string) (Settings, error) {
	data, err := files.Read(path, maxSettings)
	if err != nil {
		return Settings{}, err
	}
	s, err := ParseSettings(data)
	if err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	for i := range s.Places {
		for _, name := range []*string{&s.Places[i].TokenFile, &s.Places[i].CAFile} {
			if *name != "" && !filepath.IsAbs(*name) {
				*name = filepath.Join(filepath.Dir(path), *name)
			}
		}
	}
	return s, nil
}

// ParseSettings reads and checks what is in the file, and fills in what was left out. Its errors name all mistakes.
func ParseSettings(data []byte) (Settings, error) {
	var s Settings
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return Settings{}, forPeople(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Settings{}, errors.New("there is a second document in it (---): one is enough")
	}
	if s.Title == "" {
		s.Title = "Status"
	}
	s.Thresholds = s.Thresholds.or(defaultThresholds)
	for i := range s.Services {
		s.Services[i].complete(s.Thresholds)
	}
	if err := s.validate(); err != nil {
		return Settings{}, err
	}
	return s, nil
}

// What errors of YAML say of types of Go.
var (
	unknownField = regexp.MustCompile(`field (.*) not found in type \S+`)
	noTime       = regexp.MustCompile("cannot unmarshal !!\\w+ `([^`]*)` into time.Duration")
	wrongType    = regexp.MustCompile("cannot unmarshal !!(\\w+)( `[^`]*`)? into \\S+")
)

// forPeople says what an error of the YAML package means without the names of Go types.
func forPeople(err error) error {
	if typed, ok := errors.AsType[*yaml.TypeError](err); ok {
		texts := slices.Clone(typed.Errors)
		for i := range texts {
			texts[i] = unknownField.ReplaceAllString(texts[i], `there is no setting "$1" here`)
			texts[i] = noTime.ReplaceAllString(texts[i], "$1 is no time: write it with its unit, such as 2s")
			texts[i] = wrongType.ReplaceAllString(texts[i], "a value of type $1$2 does not belong here")
		}
		return errors.New(strings.Join(texts, "; "))
	}
	return err
}

func (t Thresholds) or(others Thresholds) Thresholds {
	if t.Degraded == 0 {
		t.Degraded = others.Degraded
	}
	if t.Down == 0 {
		t.Down = others.Down
	}
	return t
}

func (s *ServiceSettings) complete(defaults Thresholds) {
	s.Thresholds = s.Thresholds.or(defaults)
	for i, domain := range s.Domains { // probes have them in lower case
		s.Domains[i] = strings.ToLower(domain)
	}
}

func (s *Settings) validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	errs = append(errs, plainText("title", s.Title, maxName), s.validateURL())
	if len(s.Services) == 0 {
		fail("services: there is none: name at least one, with its domains, apps, fleets or probes")
	}
	if len(s.Services) > maxServices || len(s.Places) > maxPlaces {
		fail("there are %d services and %d places: at most %d and %d are allowed", len(s.Services), len(s.Places), maxServices, maxPlaces)
	}
	seen := make(map[string]bool)
	for i, service := range s.Services {
		what := fmt.Sprintf("services[%d] (%.80q)", i, service.Name)
		if seen[service.Name] {
			fail("%s: another service has this name", what)
		}
		seen[service.Name] = true
		errs = append(errs, service.validate(what))
	}
	places := make(map[string]bool)
	for i, place := range s.Places {
		what := fmt.Sprintf("places[%d] (%.80q)", i, place.Name)
		if places[place.Name] {
			fail("%s: another place has this name", what)
		}
		places[place.Name] = true
		errs = append(errs, place.validate(what))
	}
	return errors.Join(errs...)
}

func (s *Settings) validateURL() error {
	if s.URL == "" {
		return nil
	}
	if u, err := url.Parse(s.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("url: want one such as https://status.example.com/, without user, ? and #")
	}
	return nil
}

func (s ServiceSettings) validate(what string) error {
	errs := []error{plainText(what+": name", s.Name, maxName)}
	if strings.Contains(s.Name, ",") {
		errs = append(errs, fmt.Errorf("%s: name: a comma is between the names of services elsewhere", what))
	}
	if s.Description != "" {
		errs = append(errs, plainText(what+": description", s.Description, maxDescription))
	}
	if s.Group != "" {
		errs = append(errs, plainText(what+": group", s.Group, maxName))
	}
	all := slices.Concat(s.Domains, s.Apps, s.Probes, s.Fleets)
	switch {
	case len(all) == 0:
		errs = append(errs, fmt.Errorf("%s: it has no domains, apps, probes or fleets, so nothing says how it is", what))
	case len(all) > maxPatterns:
		errs = append(errs, fmt.Errorf("%s: it has %d patterns: at most %d are allowed", what, len(all), maxPatterns))
	case slices.Contains(all, ""):
		errs = append(errs, fmt.Errorf("%s: an empty pattern fits nothing", what))
	}
	if t := s.Thresholds; t.Degraded < 1 || t.Degraded > t.Down || t.Down > 100 {
		errs = append(errs, fmt.Errorf("%s: thresholds: degraded is %d and down is %d: want percents from 1 to 100, and degraded not above down", what, t.Degraded, t.Down))
	}
	if s.Slow < 0 {
		errs = append(errs, fmt.Errorf("%s: slow is below 0", what))
	}
	return errors.Join(errs...)
}

func (p PlaceSettings) validate(what string) error {
	errs := []error{plainText(what+": name", p.Name, maxName)}
	if u, err := url.Parse(p.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		errs = append(errs, fmt.Errorf("%s: url: want one such as https://relay.example.com:9090, without a user in it", what))
	}
	return errors.Join(errs...)
}
