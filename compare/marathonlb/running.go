package marathonlb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Running is what a running marathon-lb says that it has: its configuration of HAProxy, and
// its maps if it uses them.
type Running struct {
	// Ports are the service ports it opens, with the names of the backends.
	Ports map[int][]string
	// Apps are the backends by the id of the app: those of the map, or of port 9091.
	Apps map[string]string

	hosts, paths map[string]*pattern
	auth         []line
	redirects    []line
	uses         []line
	mapped       map[string]string
}

// pattern is a named ACL.
type pattern struct {
	values     []string
	ignoreCase bool
}

// line is one of the HTTP frontend.
type line struct {
	backend    string // empty: of the map
	conditions []string
}

// What is read of a running marathon-lb at most.
const (
	maxLines     = 2_000_000
	maxLineBytes = 1 << 20
)

const httpFrontend = "marathon_http_in"

// lines calls each for every line.
func lines(r io.Reader, each func(words []string)) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLineBytes)
	for n := 0; scanner.Scan(); n++ {
		if n == maxLines {
			return fmt.Errorf("it has more than %d lines", maxLines)
		}
		if words := strings.Fields(scanner.Text()); len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			each(words)
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	return nil
}

// ReadMap reads a map as /_haproxy_getvhostmap and /_haproxy_getappmap give it: a key and the
// name of a backend a line. Of a key that is there twice the first counts.
func ReadMap(r io.Reader) (entries map[string]string, err error) {
	entries = make(map[string]string)
	odd := false
	err = lines(r, func(words []string) {
		if len(words) < 2 || strings.HasPrefix(words[0], "<") {
			odd = true
			return
		}
		backend := words[len(words)-1]
		for _, key := range words[:len(words)-1] {
			if _, twice := entries[key]; !twice {
				entries[key] = backend
			}
		}
	})
	if err == nil && odd {
		err = errors.New("it is not a map of marathon-lb")
	}
	return entries, err
}

// ReadConfig reads a configuration as /_haproxy_getconfig gives it. Nothing of it is kept but
// what Running has: it holds hashes of passwords.
func ReadConfig(r io.Reader) (*Running, error) {
	c := &Running{Ports: make(map[int][]string), Apps: make(map[string]string), hosts: make(map[string]*pattern), paths: make(map[string]*pattern)}
	var section, name string
	ids := make(map[string]string)
	found := false
	err := lines(r, func(words []string) {
		switch words[0] {
		case "global", "defaults", "listen", "frontend", "backend", "userlist", "resolvers", "peers":
			section, name = words[0], ""
			if len(words) > 1 {
				name = words[1]
			}
			found = found || section == "frontend" && name == httpFrontend
			return
		}
		switch {
		case section != "frontend":
		case name == httpFrontend:
			c.readHTTP(words)
		case name == "marathon_http_appid_in":
			c.readByID(words, ids)
		case words[0] == "bind" && len(words) > 1:
			if port, ok := portOf(words[1]); ok && !strings.HasPrefix(name, "marathon_http") {
				c.Ports[port] = append(c.Ports[port], name)
			}
		}
	})
	if err == nil && !found {
		err = fmt.Errorf("it has no frontend %s: is it the configuration of a marathon-lb?", httpFrontend)
	}
	return c, err
}

// UseMaps takes in the maps, which are empty if marathon-lb does not use them.
func (c *Running) UseMaps(domains, apps map[string]string) {
	c.mapped = domains
	for id, backend := range apps {
		c.Apps[id] = backend
	}
}

func portOf(bind string) (int, bool) {
	port, err := strconv.Atoi(bind[strings.LastIndexByte(bind, ':')+1:])
	return port, err == nil && port > 0 && port <= 65535
}

func (c *Running) readHTTP(words []string) {
	switch {
	case words[0] == "acl" && len(words) > 3:
		to := map[string]map[string]*pattern{"hdr(host)": c.hosts, "path_beg": c.paths}[words[2]]
		if to == nil {
			return
		}
		p := to[words[1]]
		if p == nil {
			p = &pattern{}
			to[words[1]] = p
		}
		values := words[3:]
		for len(values) > 0 && (values[0] == "-i" || values[0] == "--") {
			p.ignoreCase = p.ignoreCase || values[0] == "-i"
			values = values[1:]
		}
		p.values = append(p.values, values...)
	case words[0] == "use_backend" && len(words) > 1:
		one := line{backend: words[1], conditions: after(words, "if")}
		if strings.HasPrefix(one.backend, "%[") {
			one.backend = ""
		}
		c.uses = append(c.uses, one)
	case words[0] == "redirect" && slices.Contains(words, "https"):
		c.redirects = append(c.redirects, line{conditions: after(words, "if")})
	case words[0] == "http-request" && len(words) > 1 && words[1] == "auth":
		c.auth = append(c.auth, line{conditions: after(words, "if")})
	}
}

func (c *Running) readByID(words []string, ids map[string]string) {
	switch {
	case words[0] == "acl" && len(words) > 4 && words[2] == "hdr(x-marathon-app-id)":
		ids[words[1]] = words[4]
	case words[0] == "use_backend" && len(words) > 3:
		if id := ids[words[3]]; id != "" {
			c.Apps[id] = words[1]
		}
	}
}

// after returns what follows a word for the last time: a realm may have the word as well.
func after(words []string, word string) []string {
	for i, w := range slices.Backward(words) {
		if w == word {
			return words[i+1:]
		}
	}
	return nil
}

// matches reports whether the conditions hold for a request by plain HTTP without a password.
func (c *Running) matches(l line, host, path string) bool {
	inside := false // braces: of a condition without a name, which says that TLS has not ended
	for _, name := range l.conditions {
		switch p := c.hosts[name]; {
		case inside || strings.HasSuffix(name, "{"):
			inside = name != "}"
		case p != nil:
			if !slices.Contains(p.values, host) {
				return false
			}
		case c.paths[name] != nil:
			p = c.paths[name]
			if !(paths{prefixes: p.values, ignoreCase: p.ignoreCase}).match(path) {
				return false
			}
		case !strings.HasPrefix(name, "!"):
			return false // somebody's own, in a template
		}
	}
	return len(l.conditions) > 0
}

// Verb is what is done with a request.
type Verb string

// The verbs.
const (
	Asks      Verb = "asks for a password"
	Redirects Verb = "redirects to https"
	Forwards  Verb = "forwards"
	Refuses   Verb = "503: no rule"
)

// AnswerHTTP says what the running marathon-lb does with a request by plain HTTP. The backend
// is that to which it forwards.
func (c *Running) AnswerHTTP(host, path string) (does Verb, backend string) {
	first := func(all []line) *line {
		for i := range all {
			if c.matches(all[i], host, path) || all[i].backend == "" && len(all[i].conditions) == 0 {
				return &all[i]
			}
		}
		return nil
	}
	if first(c.auth) != nil {
		return Asks, ""
	}
	if first(c.redirects) != nil {
		return Redirects, ""
	}
	switch use := first(c.uses); {
	case use == nil:
	case use.backend != "":
		return Forwards, use.backend
	case c.mapped[host] != "":
		return Forwards, c.mapped[host]
	}
	return Refuses, ""
}

// Domains are those that it has, each once, in order.
func (c *Running) Domains() (all []string) {
	for _, p := range c.hosts {
		all = append(all, p.values...)
	}
	for host := range c.mapped {
		all = append(all, host)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Does says the same of the rules as AnswerHTTP of what runs.
func (a Answer) Does() (does Verb, backend string) {
	switch {
	case a.Auth != nil:
		return Asks, ""
	case a.Redirect != nil:
		return Redirects, ""
	case a.Service != nil:
		return Forwards, a.Service.Backend()
	}
	return Refuses, ""
}
