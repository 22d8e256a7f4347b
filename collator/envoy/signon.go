package envoy

import "relay/sources"

// signOnFeatures are those by which others say who somebody is.
var signOnFeatures = []feature{
	{ChainsSince, true, func(h *sources.HTTP) bool { return h.SignOn != nil }, func(h *sources.HTTP) { h.SignOn = nil }},
}
