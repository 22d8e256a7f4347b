// Package problem says what is not as people want it. All parts of Relay report problems
// as the same type, from the source that reads an app to the status page.
package problem

// Problem is one thing that is ignored or does not work, in words an operator can act on.
// It never holds a secret. Sources and certificate stores set Subject and Reason only: the
// collator knows the rest.
type Problem struct {
	Kind Kind `json:"kind,omitempty"`
	// Fleet is empty when it concerns all.
	Fleet string `json:"fleet,omitempty"`
	// App is the id of the app that has the problem; empty when no app has it.
	App string `json:"app,omitempty"`
	// Subject is the label, field or domain of the app, such as "HAPROXY_0_VHOST"; empty
	// when it is the app as a whole. Without an app it is the certificate, resource,
	// source, setting or Envoy.
	Subject string `json:"subject,omitempty"`
	// Item is the part of the subject that is concerned, such as a resource of an Envoy.
	// It may be empty.
	Item   string `json:"item,omitempty"`
	Reason string `json:"reason"`
	// Domain is the domain or server name that is concerned, if it is one.
	Domain string `json:"domain,omitempty"`
	// Severity and Action are those of the kind, unless whoever reports the problem knows
	// better: see Complete.
	Severity Severity `json:"severity,omitempty"`
	// Action is what to do, where the reason does not end with it.
	Action string `json:"action,omitempty"`
}

// Kind says what a Problem is about.
type Kind string

// The kinds.
const (
	// App is something ignored in an app's definition.
	App Kind = "app"
	// Clash is a domain or TCP port that another app port has.
	Clash Kind = "clash"
	// HTTPS is a wish for TLS that a fleet cannot fulfil.
	HTTPS Kind = "https"
	// TCP is a TCP service that a fleet does not open.
	TCP Kind = "tcp"
	// Tasks is an app port that a fleet serves and of which no task is in rotation.
	Tasks Kind = "tasks"
	// Fleet is what makes a whole fleet, or a part of it that belongs to no app, not work.
	Fleet Kind = "fleet"
	// Certificate is an entry of a certificate store, or a certificate of a port.
	Certificate Kind = "certificate"
	// Resource is a resource that Envoy would refuse.
	Resource Kind = "resource"
	// Internal is a bug in Relay that cost one app or resource.
	Internal Kind = "internal"
	// Source is a source, store or file that cannot be read as it should.
	Source Kind = "source"
	// Connection is an instance to which Envoys cannot connect.
	Connection Kind = "connection"
	// Envoy is what an Envoy rejects, or does not ask for.
	Envoy Kind = "envoy"
	// Unserved is an app that wants domains or a TCP port, and that no fleet here serves.
	Unserved Kind = "unserved"
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{App, Certificate, Clash, Connection, Envoy, Fleet, HTTPS, Internal, Resource, Source, TCP, Tasks, Unserved}
}
