package main

// VisitorFlags say what visitors of a fleet see and may use: flags for the one fleet, and keys of each fleet in
// the configuration file.
type VisitorFlags struct {
	ErrorPages string `group:"Fleet" placeholder:"DIR" yaml:"error-pages" help:"Folder with HTML that visitors see in place of the built-in error pages: CODE.html, such as busy.html, and default.html. Read at start."`

	AccessLog string `group:"Fleet" default:"off" placeholder:"off|file PATH|collector" yaml:"access-log" help:"A line of JSON for each request, without its query string, and for each TCP connection: in a file on the Envoy's machine, or sent to the collector that the Envoy's bootstrap names (relay bootstrap --access-log-collector). The listeners change with it."`

	RateLimitService string `group:"Fleet" placeholder:"HOST:PORT" yaml:"rate-limit-service" help:"The rate limit service of Envoy's project, by gRPC: it counts the requests of apps with RELAY_n_RATE_LIMIT over all Envoys of the fleet, which must be 1.40 or newer."`

	Redis  bool `group:"Fleet" yaml:"redis" help:"Open the ports of apps that speak Redis (RELAY_n_PROTOCOL). Only where their clients are trusted: one that is let in can crash an Envoy by odd commands."`
	Faults bool `group:"Fleet" yaml:"faults" help:"Let apps ask that some of their own requests are slow, or fail (RELAY_n_FAULT), to try how clients bear it."`

	ExtendedConnect bool `group:"Fleet" yaml:"extended-connect" help:"Take WebSockets by HTTP/2, too (RFC 8441): browsers then need no connection for each. The listeners change with it."`
}
