package file

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"relay/internal/problem"
	"relay/sources"
	"relay/sources/labels"
)

// settingFields are the fields of a port that hold a setting, with the name of
// that setting. Each is the field of a label.
var settingFields = func() map[string]string {
	fields := make(map[string]string)
	for _, l := range labels.AllSettings() {
		fields[l.Field] = l.Name()
	}
	return fields
}()

// settingSpec is the value of a setting: text, a list, which is joined by
// spaces, or a mapping, which becomes one "name: value" a line.
type settingSpec text

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *settingSpec) UnmarshalYAML(n *yaml.Node) error {
	s.Line = n.Line
	wrong := &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: want a single value, or a list or mapping of single values here", n.Line)}}
	var values []string
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode {
			return wrong
		}
		values = append(values, item.Value)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		s.Value = n.Value
		if n.ShortTag() == "!!null" {
			s.Value = ""
		}
	case yaml.SequenceNode:
		s.Value = strings.Join(values, " ")
	case yaml.MappingNode:
		var lines strings.Builder
		for i := 0; i+1 < len(values); i += 2 {
			lines.WriteString(values[i] + ": " + values[i+1] + "\n")
		}
		s.Value = lines.String()
	default:
		return wrong
	}
	return nil
}

// unknownSettings returns an error for each field that is none.
func unknownSettings(name string, apps []appSpec) (errs []error) {
	for _, app := range apps {
		for _, port := range app.Ports {
			for _, field := range slices.Sorted(maps.Keys(port.Settings)) {
				if settingFields[field] == "" {
					errs = append(errs, &Error{File: name, Line: port.Settings[field].Line, Reason: fmt.Sprintf("unknown field %.80q", field)})
				}
			}
		}
	}
	return errs
}

// tooManySettings says that the settings of an app are more than are read; empty
// when they are not. Only those that are too long by themselves are left out.
func tooManySettings(ports []portSpec) string {
	count, size := 0, 0
	for _, p := range ports {
		count += len(p.Settings)
		for _, s := range p.Settings {
			if len(s.Value) <= sources.MaxSettingBytes {
				size += len(s.Value)
			}
		}
	}
	switch {
	case count > sources.MaxSettings:
		return fmt.Sprintf("the app has %d settings, and at most %d are read: nothing of the app is routed", count, sources.MaxSettings)
	case size > sources.MaxSettingsBytes:
		return fmt.Sprintf("the values of the app's settings take %d bytes together, and at most %d are read: nothing of the app is routed", size, sources.MaxSettingsBytes)
	}
	return ""
}

// settings reads the settings of a port, as labels would give them. In a file nothing is
// a TCP service unless it says so.
func (c *converter) settings(field string, specs map[string]settingSpec, port *sources.Port) {
	all := labels.NewSettings()
	fields := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		all.Set(settingFields[name], specs[name].Value)
		fields[settingFields[name]] = name
	}
	var problems []problem.Problem
	if tcp := all.TCP(0, len(port.Domains) > 0); tcp != nil && !tcp.Implicit {
		port.TCP = tcp
	}
	port.Queue, port.Probe, port.UsedBy = all.Queue(), all.Probe(), all.UsedBy()
	port.HTTP, port.Upstream, problems = all.Finish()
	for _, p := range problems {
		name := fields[p.Subject]
		p.Subject = field + name
		c.remark(p, specs[name].Line, "%s", p.Reason)
	}
	c.checkTCP(field, port)
}

// checkTCP reports what has no effect on a TCP service.
func (c *converter) checkTCP(field string, port *sources.Port) {
	switch tcp := port.TCP; {
	case tcp == nil:
	case tcp.Passthrough && len(port.Domains) == 0:
		c.ignore(0, field+"tlsPassthrough", "has no effect without domains")
	case !tcp.Passthrough && tcp.ServiceTLS == nil && len(port.Domains) > 0:
		c.ignore(0, field+"domains", "have no effect in tcp mode, unless tlsPassthrough or tlsTerminate is true")
	}
}

// owner returns who is told when an app fails.
func (c *converter) owner(spec text) string {
	if spec.Value != "" && !labels.ValidOwner(spec.Value) {
		c.ignore(spec.Line, "owner", "%.40q ignored: use letters, digits and _ . @ / -, at most 64", spec.Value)
		return ""
	}
	return spec.Value
}

// deployment returns nil for an app that is no member of a group.
func (c *converter) deployment(spec deploymentSpec, ports []sources.Port) *sources.Deployment {
	if spec.Group.Value == "" {
		return nil
	}
	if !labels.ValidDeploymentGroup(spec.Group.Value) {
		c.ignore(spec.Group.Line, "deployment.group", "%.40q ignored: use letters, digits, hyphens, dots and slashes", spec.Group.Value)
		return nil
	}
	d := &sources.Deployment{Group: spec.Group.Value, StartedAt: spec.StartedAt.UTC(), TargetInstances: max(spec.TargetInstances, 0)}
	for _, p := range ports {
		d.Instances = max(d.Instances, len(p.Endpoints))
	}
	return d
}
