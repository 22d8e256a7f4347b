package admin

import (
	"net"
	"net/http"
)

// NewForProbes returns a Server for a program that asks from outside and is no Relay: it has the metrics, what was found,
// and the incidents if there is a status page. Of the configuration it needs the Gatherer, the Log and Probing; reloads, views
// and the page are for a Relay.
func NewForProbes(cfg Config, l net.Listener) *Server {
	s := newServer(cfg, l)
	mux := http.NewServeMux()
	s.health(mux)
	routes := s.probeRoutes()[:1]
	if cfg.Incidents != nil {
		routes = append(routes, s.incidentRoutes()...)
	}
	s.api(mux, routes)
	s.handler = s.protected(mux)
	return s
}
