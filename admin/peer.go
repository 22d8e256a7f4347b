package admin

import (
	"net/http"

	"relay/scaling/peers"
)

var peerParams = []parameter{
	{Name: "apps", Text: "Apps that are about to sleep: their routed names, each escaped as in a query, with commas between.", Length: peers.MaxQuery},
	{Name: "envoys", Text: "Envoys that report to the asking Relay no more: of each its fleet, escaped as in a query, a slash, and its node id, all escaped once more, with commas between.", Length: peers.MaxQuery},
	{Name: "group", Text: "A deployment group: its tasks are told."},
	{Name: "loads", Text: "Whether the load of all apps that are sized by it is told.", Values: []string{"false", "true"}},
	{Name: "slots", Text: "Digests of what the asking Relay knows of slots, 64 of 16 hexadecimal digits: the ports whose requests are hashed are told with the slots of their instances, as far as digests differ.", Length: peers.MaxDigests},
}

// peer answers another Relay.
func (s *Server) peer(_ *http.Request, q query) (any, error) {
	if s.cfg.Peer == nil {
		return nil, unknown("this Relay does not change the number of instances: it runs without --scaling")
	}
	question, err := peers.Parse(q.values["apps"], q.values["envoys"], q.values["slots"], q.values["loads"] == "true")
	if err != nil {
		return nil, badRequest(err.Error())
	}
	question.Group = q.values["group"]
	return s.cfg.Peer(question), nil
}
