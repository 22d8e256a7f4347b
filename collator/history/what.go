package history

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"relay/sources"
)

const (
	// maxListed is how many addresses or domains a line names.
	maxListed = 4
	// maxPorts is how many ports are looked at.
	maxPorts = 100
)

// What says in words what differs between two reads of an app, of what is routed: nothing if that
// is the same. before is nil for a new app, after for a removed one. It says which settings of a
// port differ and not what they are: a value may be a password.
func What(before, after *sources.App) []string {
	var w words
	switch {
	case before == nil && after == nil:
		return nil
	case before == nil:
		w.add("new app")
		before = &sources.App{}
	case after == nil:
		w.add("app removed")
		after = &sources.App{}
	case before.Stopped != after.Stopped && after.Stopped:
		w.add("scaled to 0")
	case before.Stopped != after.Stopped:
		w.add("not scaled to 0 any more")
	}
	switch {
	case before.Maintenance != after.Maintenance && after.Maintenance:
		w.add("in maintenance")
	case before.Maintenance != after.Maintenance:
		w.add("not in maintenance any more")
	}
	w.deployment(before.Deployment, after.Deployment)
	for i := range min(maxPorts, max(len(before.Ports), len(after.Ports))) {
		w.port(i, portOf(before, i), portOf(after, i))
		switch {
		case i >= len(before.Ports):
			w.newPort(i, after.Ports[i])
		case i < len(after.Ports):
			w.settings(i, before.Ports[i], after.Ports[i])
		}
	}
	if len(w.lines) > 0 && before.Version != "" && after.Version != "" && before.Version != after.Version {
		w.lines = slices.Insert(w.lines, 0, clip("new definition "+after.Version))
	}
	return w.bounded()
}

func portOf(app *sources.App, i int) sources.Port {
	if i < len(app.Ports) {
		return app.Ports[i]
	}
	return sources.Port{}
}

type words struct{ lines []string }

func (w *words) add(format string, args ...any) {
	w.lines = append(w.lines, clip(fmt.Sprintf(format, args...)))
}

func (w *words) bounded() []string {
	if len(w.lines) <= maxWhat {
		return w.lines
	}
	return append(w.lines[:maxWhat:maxWhat], fmt.Sprintf("and %d more", len(w.lines)-maxWhat))
}

func (w *words) deployment(before, after *sources.Deployment) {
	switch {
	case before == nil && after != nil:
		w.add("joins the deployment group %s", after.Group)
	case before != nil && after == nil:
		w.add("leaves the deployment group %s", before.Group)
	case before != nil && *before != *after:
		w.add("its part in the deployment group %s changed", after.Group)
	}
}

// port says what differs in what two ports serve; the zero value is none.
func (w *words) port(i int, before, after sources.Port) {
	w.list("domain %s added", "domain %s removed", before.Domains, after.Domains)
	w.list("ACME domain %s added", "ACME domain %s removed", before.ACMEDomains, after.ACMEDomains)
	w.list(fmt.Sprintf("port %d: of fleet %%s", i), fmt.Sprintf("port %d: of fleet %%s no more", i), before.Groups, after.Groups)
	w.endpoints(i, before.Endpoints, after.Endpoints)
}

// settings says which settings differ between two ports.
func (w *words) settings(i int, before, after sources.Port) {
	if changed := changedSettings(before, after); len(changed) > 0 {
		w.add("port %d: %s changed", i, strings.Join(changed, ", "))
	}
}

// newPort says what a port has that was not there before. That it has an order, a weight or a service says nothing without
// those of the others.
func (w *words) newPort(i int, port sources.Port) {
	if t := port.TCP; t != nil && t.Port != 0 && !t.Implicit {
		w.add("port %d: TCP port %d added", i, t.Port)
	}
	with := slices.DeleteFunc(changedSettings(sources.Port{}, port), func(setting string) bool {
		return slices.Contains([]string{settingWords["Order"], settingWords["ClusterWeight"], settingWords["Service"], settingWords["Port"]}, setting)
	})
	if len(with) > 0 {
		w.add("port %d: with %s", i, strings.Join(with, ", "))
	}
}

func changedSettings(before, after sources.Port) (changed []string) {
	if before.RedirectToHTTPS != after.RedirectToHTTPS {
		changed = append(changed, "redirect to https")
	}
	changed = append(changed, settings(before.HTTP, after.HTTP)...)
	changed = append(changed, settings(before.Upstream, after.Upstream)...)
	return append(changed, settings(before.TCP, after.TCP)...)
}

// list says what was added to a list and removed from it.
func (w *words) list(added, removed string, before, after []string) {
	for _, d := range []struct {
		format   string
		from, to []string
	}{{added, before, after}, {removed, after, before}} {
		var more []string
		known := make(map[string]bool, len(d.from))
		for _, s := range d.from {
			known[s] = true
		}
		for _, s := range d.to {
			if !known[s] {
				more = append(more, s)
			}
		}
		for _, s := range more[:min(len(more), maxListed)] {
			w.add(d.format, s)
		}
		if over := len(more) - maxListed; over > 0 {
			w.add(d.format, fmt.Sprintf("and %d more", over))
		}
	}
}

// endpoints says which instances came and went, and whose health differs.
func (w *words) endpoints(port int, before, after []sources.Endpoint) {
	if slices.Equal(before, after) {
		return
	}
	was := make(map[netip.AddrPort]sources.Endpoint, len(before))
	for _, e := range before {
		was[e.Address] = e
	}
	var added, removed, health, moved []string
	for _, e := range after {
		old, known := was[e.Address]
		delete(was, e.Address)
		if before, after := old.Shed.Percent > 0, e.Shed.Percent > 0; known && before != after {
			moved = append(moved, shedWords(e))
		}
		old.Shed = e.Shed
		switch {
		case !known && e.Health != sources.Healthy:
			added = append(added, fmt.Sprintf("+%s (%s)", e.Address, e.Health))
		case !known:
			added = append(added, "+"+e.Address.String())
		case old.Health != e.Health:
			health = append(health, fmt.Sprintf("%s %s, was %s", e.Address, e.Health, old.Health))
		case old.Task != e.Task:
			moved = append(moved, e.Address.String()+" of another task")
		case old != e:
			moved = append(moved, e.Address.String()+" in another zone")
		}
	}
	for _, e := range before {
		if _, gone := was[e.Address]; gone {
			delete(was, e.Address)
			removed = append(removed, "-"+e.Address.String())
		}
	}
	if parts := slices.Concat(few(added, "+"), few(removed, "-")); len(parts) > 0 {
		w.add("port %d: %s", port, strings.Join(parts, " "))
	}
	if parts := slices.Concat(few(health, ""), few(moved, "")); len(parts) > 0 {
		w.add("port %d: %s", port, strings.Join(parts, "; "))
	}
}

func shedWords(e sources.Endpoint) string {
	if e.Shed.Percent > 0 {
		return fmt.Sprintf("some connections of %s end, as it has more than its share", e.Address)
	}
	return fmt.Sprintf("no more connections of %s end", e.Address)
}

// OnlySheds reports whether two reads of an app differ only in how many connections of endpoints end, of
// which some did before and do after. It changes every few seconds while connections are evened out.
func OnlySheds(before, after *sources.App) bool {
	if before == nil || after == nil || len(before.Ports) != len(after.Ports) {
		return false
	}
	same := *after
	same.Ports = slices.Clone(after.Ports)
	for i := range same.Ports {
		old, now := before.Ports[i].Endpoints, slices.Clone(after.Ports[i].Endpoints)
		if len(old) != len(now) {
			return false
		}
		for j := range now {
			if (old[j].Shed.Percent > 0) != (now[j].Shed.Percent > 0) {
				return false
			}
			now[j].Shed = old[j].Shed
		}
		same.Ports[i].Endpoints = now
	}
	return before.Equal(&same)
}

// few are the first texts, and how many more there are.
func few(texts []string, sign string) []string {
	if over := len(texts) - maxListed; over > 0 {
		return append(texts[:maxListed:maxListed], fmt.Sprintf("%s%d more", sign, over))
	}
	return texts
}

// settingWords are the settings of a port in words, by the name of their field.
var settingWords = map[string]string{
	"Paths": "paths", "Match": "kinds of requests", "Order": "order", "ClusterWeight": "weight", "Service": "service", "Closed": "closing", "BasicAuth": "password", "AllowedNetworks": "allowed networks",
	"HSTS": "HSTS", "RootRedirect": "redirect of the root", "StripPrefix": "prefix of the path", "LocationPrefix": "prefix of Location",
	"RequestHeaders": "request headers", "ResponseHeaders": "response headers", "Sticky": "sticky sessions", "Hash": "hash",
	"Timeout": "timeout", "IdleTimeout": "idle timeout", "NumRetries": "retries", "RetryOn": "conditions of retries",
	"Balance": "balance", "ConnectTimeout": "connect timeout", "MaxConnections": "limit of connections",
	"MaxPendingRequests": "limit of waiting requests", "MaxRequests": "limit of requests", "TLS": "TLS to instances", "HTTP2": "HTTP/2 to instances",
	"ProxyProtocol": "PROXY protocol to instances",
	"Port":          "TCP port", "Address": "TCP address", "AcceptProxy": "PROXY protocol of clients", "Passthrough": "TLS passthrough", "Implicit": "TCP mode",
	"ServiceTLS": "TLS with clients", "MaxConnectionAge": "longest age of connections", "Rebalance": "rebalancing", "AcceptRate": "rate of new connections",
	"AddressRate": "rate of new connections of an address", "Hold": "waiting for an instance", "MaxStreamDuration": "longest duration of streams",
	"EjectAfter": "outlier detection", "EjectFor": "time of outlier detection", "Redis": "caching by Redis",
	"App": "app that is asked", "OIDC": "log-in", "JWT": "tokens",
	"Rate": "rate limit", "PerClient": "rate limit of clients", "MaxBody": "size of bodies", "MaxHeaders": "size of heads",
	"Streams": "streams of gRPC", "Everywhere": "limits over all Envoys", "SaidOnly": "bodies of unknown length",
	"Redirects": "redirects", "PathRewrite": "rewriting of paths", "Host": "rewriting of the host", "HostOfInstance": "address as the host", "CORS": "CORS", "Compress": "compression",
	"StickyHeader": "sessions by a header", "Urgent": "urgent paths", "Fault": "faults", "Mirrors": "copies of requests",
}

// settingGroups are the fields that hold several settings, each with words of its own.
var settingGroups = []string{"SignOn", "RequestLimits", "Shaping"}

// settings names the fields in which two structs differ; nil stands for one with no setting.
func settings[T any](before, after *T) []string {
	if before == after {
		return nil
	}
	return differences(reflect.ValueOf(before), reflect.ValueOf(after))
}

// differences names the fields in which the structs differ to which two pointers lead, of which either may be nil.
func differences(before, after reflect.Value) (changed []string) {
	value := func(p reflect.Value) reflect.Value {
		if p.IsNil() {
			p = reflect.New(p.Type().Elem())
		}
		return p.Elem()
	}
	a, b := value(before), value(after)
	for i := range a.NumField() {
		name := a.Type().Field(i).Name
		switch {
		case reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()):
		case slices.Contains(settingGroups, name):
			changed = append(changed, differences(a.Field(i), b.Field(i))...)
		default:
			changed = append(changed, settingWords[name])
		}
	}
	return changed
}
