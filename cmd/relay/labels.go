package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"relay/sources/labels/traefik"
)

// LabelFlags say which labels of apps are read. Those about Traefik say what is in its own configuration.
type LabelFlags struct {
	Labels []string `group:"Applications" default:"marathon-lb" placeholder:"KIND" help:"Which labels of apps are read: marathon-lb (with Relay's own), or marathon-lb,traefik."`

	TraefikEntryPoints        string   `group:"Applications" name:"traefik-entry-points" placeholder:"NAME=FLEET/SCHEME" help:"Traefik's entry points, with spaces or commas between: web=external/http websecure=external/https mqtt=external/tcp/1883. Without it, web and http are the only fleet's HTTP, and websecure and https its HTTPS."`
	TraefikDefaultEntryPoints []string `group:"Applications" name:"traefik-default-entry-points" placeholder:"NAME" help:"The entry points of routers that name none. Without it: all."`
	TraefikDefaultRule        string   `group:"Applications" name:"traefik-default-rule" placeholder:"TEMPLATE" help:"The rule of routers that have none, such as Host(\x60{{ normalize .Name }}.example.com\x60). Without it they are not routed."`
	TraefikExposedByDefault   bool     `group:"Applications" name:"traefik-exposed-by-default" default:"true" help:"Read the labels of Traefik of apps that do not say traefik.enable."`
	TraefikConstraints        string   `group:"Applications" name:"traefik-constraints" placeholder:"EXPRESSION" help:"Read the labels of Traefik of those apps alone for which this holds, such as Label(\x60edge\x60, \x60public\x60)."`
}

// traefikOptions are nil if labels of Traefik are not read.
func (f LabelFlags) traefikOptions(fleets []FleetSettings) (*traefik.Options, error) {
	var errs []error
	for _, kind := range f.Labels {
		if kind != "marathon-lb" && kind != "traefik" {
			errs = append(errs, fmt.Errorf("--labels: %.40q is none of marathon-lb and traefik", kind))
		}
	}
	if !slices.Contains(f.Labels, "marathon-lb") {
		errs = append(errs, errors.New("--labels: marathon-lb has to be among them, as Relay's own labels are"))
	}
	if !slices.Contains(f.Labels, "traefik") {
		return nil, errors.Join(errs...)
	}
	o := &traefik.Options{ExposedByDefault: f.TraefikExposedByDefault}
	var names []string
	for _, fleet := range fleets {
		names = append(names, fleet.Name)
	}
	var err error
	switch {
	case strings.TrimSpace(f.TraefikEntryPoints) != "":
		if o.EntryPoints, err = traefik.ParseEntryPoints(f.TraefikEntryPoints, names); err != nil {
			errs = append(errs, fmt.Errorf("--traefik-entry-points: %w", err))
		}
	case len(names) == 1:
		o.EntryPoints = traefik.UsualEntryPoints(names[0])
	default:
		errs = append(errs, errors.New("--traefik-entry-points: say of which of the fleets Traefik's entry points are"))
	}
	for _, name := range f.TraefikDefaultEntryPoints {
		name = strings.ToLower(name)
		if _, known := o.EntryPoints[name]; !known && err == nil {
			errs = append(errs, fmt.Errorf("--traefik-default-entry-points: %.40q is no entry point", name))
		}
		o.DefaultEntryPoints = append(o.DefaultEntryPoints, name)
	}
	if o.DefaultRule, err = traefik.ParseDefaultRule(f.TraefikDefaultRule); err != nil {
		errs = append(errs, fmt.Errorf("--traefik-default-rule: %w", err))
	}
	if o.Constraints, err = traefik.ParseConstraints(f.TraefikConstraints); err != nil {
		errs = append(errs, fmt.Errorf("--traefik-constraints: it %w", err))
	}
	return o, errors.Join(errs...)
}
