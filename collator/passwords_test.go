package collator

import "relay/sources"

// askRelayForPasswords has many domains with a password that Relay checks.
func askRelayForPasswords(p *sources.Port) {
	p.Domains = names(many, "d-%05d.test")
	p.HTTP = &sources.HTTP{BasicAuth: &sources.BasicAuth{Realm: "r", User: "u", Hash: "$5$saltsalt$kmJUCIm73946uXVnGZjCdBUolDZJ3cOBx5hc3E.xjEC"}}
}
