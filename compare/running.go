package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"relay/compare/marathonlb"
)

// maxRunning bounds what is read of what marathon-lb says that it has.
const maxRunning = 64 << 20

// compareRunning compares what the running marathon-lb says that it has with what its rules
// make of the apps, and with Relay.
func (s *Sides) compareRunning(ctx context.Context, r *Report, a *Asking) {
	t := r.tally(Running, s.relay.fleet.Name)
	running, err := readRunning(ctx, a)
	if err != nil {
		t.NotDone = fmt.Sprintf("marathon-lb does not say what it has at %s: %v", a.oldAdmin.Host, err)
		t.Failed = !a.adminGuessed
		if a.adminGuessed {
			t.NotDone += " (--old-admin URL, if it is elsewhere)"
		}
		return
	}
	probes := s.probes()
	known := make(map[string]bool)
	for _, p := range probes {
		known[p.host] = true
	}
	for _, host := range running.Domains() {
		if !known[host] {
			probes = append(probes, probe{host, "/"})
		}
	}
	for _, p := range probes {
		r.count(t, s.compareRunningProbe(running, p, known[p.host]))
	}
	s.compareRunningPorts(r, t, running)
	s.compareRunningApps(r, t, running)
}

// compareRunningProbe compares what becomes of a request. claimed tells that an app has the
// domain.
func (s *Sides) compareRunningProbe(running *marathonlb.Running, p probe, claimed bool) []Finding {
	does, backend := running.AnswerHTTP(p.host, p.path)
	answer := s.old.AnswerHTTP(p.host, p.path)
	should, wants := answer.Does()
	if does == should && backend == wants {
		return nil
	}
	rule, _ := s.relay.rule(p.host, p.path)
	f := Finding{
		Verdict: Different, Kind: NotInModel, Subject: p.String(), Old: "the running one: " + strings.TrimSpace(string(does)+" "+backend), New: s.newWords(rule, true),
		Reason: fmt.Sprintf("by the apps there are, it should be: %s", strings.TrimSpace(string(should)+" "+wants)),
		Do:     "see whether it has other options (--old-group and others) or templates, or an older configuration",
	}
	if !claimed {
		f.Reason, f.Do = "no app has the domain, or not in this group", "see whether marathon-lb still reads Marathon, and whether it serves more groups than --old-group"
	}
	return []Finding{f}
}

// compareRunningPorts compares the service ports.
func (s *Sides) compareRunningPorts(r *Report, t *Tally, running *marathonlb.Running) {
	should := make(map[int][]string)
	for _, one := range s.old.Services {
		should[one.ServicePort] = append(should[one.ServicePort], one.Backend())
	}
	all := slices.AppendSeq(slices.Collect(maps.Keys(should)), maps.Keys(running.Ports))
	slices.Sort(all)
	for _, port := range slices.Compact(all) {
		was, wants := slices.Sorted(slices.Values(running.Ports[port])), slices.Sorted(slices.Values(should[port]))
		if slices.Equal(was, wants) {
			r.count(t, nil)
			continue
		}
		r.count(t, []Finding{{
			Verdict: Different, Kind: NotInModel, Subject: fmt.Sprintf("tcp/%d", port), Old: "the running one: " + orNone(strings.Join(was, ", ")),
			New: s.onPort(port), Reason: "by the apps there are, it should be: " + orNone(strings.Join(wants, ", ")),
			Do: "see whether it has other options (--old-group and others) or templates, or an older configuration",
		}})
	}
}

func (s *Sides) onPort(port int) string {
	if wanting := s.relay.services.Ports[uint16(port)]; len(wanting) > 0 {
		return s.relay.named(wanting[0].Cluster())
	}
	return "does not open it"
}

// compareRunningApps compares the map of apps, which is the same as a port of its own.
func (s *Sides) compareRunningApps(r *Report, t *Tally, running *marathonlb.Running) {
	should := make(map[string]string)
	for _, one := range s.old.ByAppID() {
		should[one.App] = one.Backend()
	}
	all := slices.AppendSeq(slices.Collect(maps.Keys(should)), maps.Keys(running.Apps))
	slices.Sort(all)
	for _, id := range slices.Compact(all) {
		var findings []Finding
		if was := running.Apps[id]; was != should[id] {
			findings = []Finding{{
				Verdict: Different, Kind: NotInModel, Subject: "port 9091 for " + id, App: id, Old: "the running one: " + orNone(was), New: "has no such port",
				Reason: "by the apps there are, it should be: " + orNone(should[id]), Do: "see whether it has other options (--old-group and others) or templates, or an older configuration",
			}}
		}
		r.count(t, findings)
	}
}

// readRunning asks marathon-lb what it has.
func readRunning(ctx context.Context, a *Asking) (*marathonlb.Running, error) {
	var running *marathonlb.Running
	err := fetch(ctx, a, "/_haproxy_getconfig", func(body io.Reader) (err error) {
		running, err = marathonlb.ReadConfig(body)
		return err
	})
	if err != nil {
		return nil, err
	}
	var read [2]map[string]string
	for i, path := range []string{"/_haproxy_getvhostmap", "/_haproxy_getappmap"} {
		err := fetch(ctx, a, path, func(body io.Reader) (err error) {
			read[i], err = marathonlb.ReadMap(body)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	running.UseMaps(read[0], read[1])
	return running, nil
}

func fetch(ctx context.Context, a *Asking, path string, use func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.Timeout)
	defer cancel()
	u := url.URL{Scheme: a.oldAdmin.Scheme, Host: a.oldAdmin.Host, Path: path}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return errors.New("its address cannot be asked")
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %s", path, failureOf(err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", path, response.StatusCode)
	}
	limited := &io.LimitedReader{R: response.Body, N: maxRunning}
	err = use(limited)
	switch {
	case limited.N <= 0:
		return fmt.Errorf("%s has more than %d bytes", path, maxRunning)
	case err != nil && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer in time", path)
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
