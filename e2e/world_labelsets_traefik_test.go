package e2e

import (
	"fmt"
	"slices"
	"strings"
)

// closingMiddlewares keep clients out, well-formed or not, and openMiddlewares do not.
var closingMiddlewares = []string{
	"basicAuth.users=joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "basicAuth.users=joe:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/", "basicAuth.users=joe", "basicAuth.usersFile=/users", "basicauth.realm=x",
	"digestAuth.users=joe:x:y", "forwardAuth.address=http://a1-bank.marathon.mesos/verify", "forwardAuth.address=http://a0-shop.marathon.mesos", "forwardAuth.address=https://auth.test/", "forwardAuth.trustForwardHeader=true",
	"ipWhiteList.sourceRange=10.0.0.0/8", "ipAllowList.sourceRange=10.0.0.0/8,fd00::/8", "ipAllowList.sourceRange=intranet", "ipWhiteList.sourceRange=", "ipWhiteList.ipStrategy.depth=1", "plugin.auth.key=x", "baiscAuth.users=joe:x",
}

var openMiddlewares = []string{
	"headers.customRequestHeaders.X-A=b", "headers.customResponseHeaders.X-A=%", "headers.stsSeconds=1", "headers.accessControlAllowOriginList=https://a.test", "headers.sslRedirect=true", "compress=true", "compress.excludedContentTypes=a",
	"stripPrefix.prefixes=/x", "stripPrefixRegex.regex=/[0-9]+", "addPrefix.prefix=/y", "addPrefix.prefix=y", "replacePath.path=/z", "replacePathRegex.regex=^/(.*)", "redirectScheme.scheme=https", "redirectRegex.regex=^http://a.test/(.*)",
	"rateLimit.average=1000", "rateLimit.average=x", "inFlightReq.amount=9", "retry.attempts=2", "buffering.maxRequestBodyBytes=9", "errors.status=500", "circuitBreaker.expression=x", "chain.middlewares=m1,m0", "contentType.autoDetect=true",
}

// traefik adds labels of Traefik 2.
func (g *labelSets) traefik(s *labelSet, index int) {
	set := func(key, value string) {
		s.labels[g.one("traefik.", "traefik.", "Traefik.")+g.one(key, key, strings.ToLower(key))] = value
	}
	const names = 4
	for i := range names {
		of := openMiddlewares
		if g.often(35) {
			of = closingMiddlewares
		}
		key, value, _ := strings.Cut(of[g.IntN(len(of))], "=")
		if g.often(10) {
			value = g.mutated(value)
		}
		set(fmt.Sprintf("http.middlewares.m%d.%s", i, key), value)
	}
	for n := range s.tasks {
		set(fmt.Sprintf("http.services.s%d.loadbalancer.server.port", n), fmt.Sprint("index:", n))
	}
	for i := range 1 + g.IntN(3) {
		name, domain := fmt.Sprint("r", i), fmt.Sprintf("t%d-%d-%d.test", g.round%3, index, i)
		s.routers[name] = domain
		at := "http.routers." + name + "."
		set(at+"rule", strings.ReplaceAll(g.one(ruleForms...), "DOMAIN", domain))
		set(at+"service", fmt.Sprint("s", g.IntN(len(s.tasks))))
		if g.often(80) {
			var all []string
			for range 1 + g.IntN(3) {
				all = append(all, fmt.Sprint("m", g.IntN(names))+g.one("", "", "", "@marathon"))
			}
			if g.often(5) {
				all = append(all, "auth@file")
			}
			set(at+"middlewares", strings.Join(all, g.one(",", ", ")))
		}
		if g.often(15) {
			set(at+g.one("tls", "priority", "entryPoints", "tls.options", "tls.certResolver"), g.one("true", "7", "web", "websecure", "mtls@file", "", "-1"))
		}
	}
	if g.often(20) {
		set("enable", g.one("true", "false", "x"))
	}
}

// ruleForms are rules of a router, good and bad.
var ruleForms = []string{
	"Host(`DOMAIN`)", "Host(`DOMAIN`)", "Host(`DOMAIN`) && PathPrefix(`/x`)", "Host(`DOMAIN`) || Host(`x.DOMAIN`)", "HostRegexp(`{any:.+}.DOMAIN`)", "HostRegexp(`{sub:[a-z]+}.DOMAIN`)", "Host(`DOMAIN`) && Method(`GET`)",
	"Host(`DOMAIN`) && Path(`/x/{id:[0-9]+}`)", "Host(`DOMAIN`) && !PathPrefix(`/internal`)", "Host(`DOMAIN`) && Headers(`X-A`, `b`)", "Host(`DOMAIN`) && Query(`a=b`)", "Host(`DOMAIN`", "Host(`DOMAIN`) && Unknown(`x`)",
	"Host(`DOMAIN`) && ClientIP(`10.0.0.0/8`)", "Host(`DOMAIN`) && !ClientIP(`127.0.0.0/8`)", "Host(`DOMAIN`) && !ClientIP(`0.0.0.0/0`)", "Host(`DOMAIN`) && ClientIP(`intranet`)", "PathPrefix(`/`)", "Host(`DOMAIN`) && HeadersRegexp(`X-A`, `(`)",
}

// routerKeepsOut says by what the routers of a domain keep out a client without credentials, as the labels say; "" if
// one of them does not.
func (s *labelSet) routerKeepsOut(domain string) (why string) {
	config := make(map[string]string)
	for key, value := range s.labels {
		config[strings.ToLower(key)] = value
	}
	if s.routers[""] == domain { // of Traefik 1
		return s.frontendKeepsOut(config)
	}
	for name, of := range s.routers {
		if of != domain {
			continue
		}
		at := "traefik.http.routers." + name + "."
		if strings.Contains(config[at+"rule"], "ClientIP(") {
			return "ClientIP"
		}
		if options := config[at+"tls.options"]; options != "" && !strings.HasPrefix(options, "default") {
			return "tls.options"
		}
		return middlewaresKeepOut(config, config[at+"middlewares"], 0)
	}
	return ""
}

func middlewaresKeepOut(config map[string]string, list string, depth int) string {
	for name := range strings.SplitSeq(list, ",") {
		name, provider, _ := strings.Cut(strings.TrimSpace(name), "@")
		if name == "" {
			continue
		}
		at, found := "traefik.http.middlewares."+name+".", false
		for key, value := range config {
			rest, below := strings.CutPrefix(key, at)
			if !below && key != strings.TrimSuffix(at, ".") {
				continue
			}
			found = true
			kind, field, _ := strings.Cut(rest, ".")
			if kind == "chain" && field == "middlewares" && depth < 5 {
				if why := middlewaresKeepOut(config, value, depth+1); why != "" {
					return why
				}
			}
			if slices.ContainsFunc(closingMiddlewares, func(m string) bool { return strings.EqualFold(strings.SplitN(m, ".", 2)[0], kind) }) {
				return name + "." + kind
			}
		}
		if !found || provider != "" && provider != "marathon" {
			return name + ", which there is not"
		}
	}
	return ""
}

// traefik1 adds labels of Traefik 1.
func (g *labelSets) traefik1(s *labelSet, index int) {
	domain := fmt.Sprintf("f%d-%d.test", g.round%3, index)
	s.routers[""] = domain
	s.labels["traefik.frontend.rule"] = strings.ReplaceAll(g.one("Host:DOMAIN", "Host: DOMAIN ; PathPrefixStrip:/x", "Host:DOMAIN;PathPrefix:/x", "HostRegexp:{any:.+}.DOMAIN", "Host:DOMAIN;Unknown:x", "Host:DOMAIN;Method:GET", "PathPrefix:/x"), "DOMAIN", domain)
	s.labels["traefik.portIndex"] = fmt.Sprint(g.IntN(len(s.tasks)))
	for range g.IntN(3) {
		key, value, _ := strings.Cut(g.one(frontends...), "=")
		if g.often(15) {
			value = g.mutated(value)
		}
		s.labels["traefik.frontend."+key] = value
	}
}

var frontends = []string{
	"auth.basic.users=joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "auth.basic=joe:x", "auth.basic.usersFile=/x", "auth.digest.users=joe:x:y", "auth.forward.address=https://auth.test/", "auth.forward.address=http://a0-shop.marathon.mesos", "auth.headerField=X-User",
	"whiteList.sourceRange=10.0.0.0/8", "whitelistSourceRange=10.0.0.0/8", "whiteList.sourceRange=x", "whiteList.useXForwardedFor=true", "passHostHeader=false", "priority=9", "entryPoints=http", "headers.SSLRedirect=true", "redirect.entryPoint=https",
	"rateLimit.extractorFunc=client.ip", "headers.customRequestHeaders=X:a||Y:b", "passTLSCert=true",
}

// frontendKeepsOut says by which label a frontend of Traefik 1 keeps clients out.
func (s *labelSet) frontendKeepsOut(config map[string]string) string {
	for key := range config {
		if rest, ok := strings.CutPrefix(key, "traefik.frontend."); ok && (strings.HasPrefix(rest, "auth.") || rest == "whitelist.sourcerange" || rest == "whitelistsourcerange") {
			return rest
		}
	}
	return ""
}
