package relay

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"

	"relay/probe"
)

// Probes says whether this program asks from outside, as users and devices do.
type Probes struct {
	Enabled bool
	// File has the settings (probe.Settings); the defaults hold without it.
	File string
	// Place is the name of where it is asked from; that of the settings or of the machine if it is empty.
	Place string
}

func (p Probes) validate() error {
	switch {
	case !p.Enabled && (p.File != "" || p.Place != ""):
		return errors.New("--probe-file and --probe-place have an effect with --probes only")
	case p.Place != "" && !probe.ValidPlace(p.Place):
		return fmt.Errorf("--probe-place %.80q: it has 1 to 64 letters, digits, dots, underscores and hyphens", p.Place)
	}
	return nil
}

// settings reads the file.
func (p Probes) settings() (probe.Settings, error) {
	s := probe.DefaultSettings()
	if p.File != "" {
		var err error
		if s, err = probe.Load(p.File); err != nil {
			return s, fmt.Errorf("--probe-file: %w", err)
		}
	}
	host, _ := os.Hostname()
	s.Place = cmp.Or(p.Place, s.Place, placeName(host))
	return s, nil
}

var notInPlace = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// placeName is the name of a machine, as a place may have it.
func placeName(host string) string {
	host = notInPlace.ReplaceAllString(host, "-")
	return cmp.Or(host[:min(len(host), 64)], "here")
}
