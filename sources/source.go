package sources

import (
	"context"
	"time"

	"relay/internal/problem"
)

// Source reads apps from somewhere, such as Marathon or YAML files, and tells
// its Sink what they are and how they change. It is created with its Sink, and
// reads nothing before Serve or Reload is called.
//
// What a Source tells its Sink:
//
//   - First SyncApps with all apps, after the first read that was complete. Before
//     that nothing: an Envoy that was there before Relay would lose the apps that
//     are missing.
//   - After that, what has changed. A read that fails changes nothing, and never
//     makes an app vanish. An app that cannot be understood keeps its last good
//     version.
//   - An empty list only if there are no apps, and never in place of an error.
//   - An app whose definition is wrong in part, without that part, and with a
//     Problem that says so.
type Source interface {
	// Serve reads and follows the changes until ctx ends, and returns ctx.Err() then,
	// soon. It returns another error when it cannot go on. It is called again then, at
	// once the first times: a Source that must not try again so soon waits at the beginning
	// of Serve. What was read stays known meanwhile, and no app vanishes. Only one call of
	// Serve is made at a time. When Serve returns or panics, nothing of it goes on.
	Serve(ctx context.Context) error
	// Reload reads everything again, whether or not anything seems to have
	// changed, and returns when the Sink was told. What had changed before the call
	// is part of it. Several calls may be made at a time. A Source that reads only while
	// it is connected waits until Serve has connected. The error says what could not be
	// read, or that ctx ended before.
	Reload(ctx context.Context) error
	// Status returns the present state, for people. It may be called at any time.
	Status() Status
}

// Status is what there is to tell people about a Source. It holds no secret.
type Status struct {
	// Kind is what the source is, such as "marathon": the constant Kind of its package.
	Kind string
	// Name is where the apps are read from: the URL of the Marathon in use or last
	// tried, or the path of the files.
	Name string
	// Connected tells that the apps known are those that are there: they were read,
	// and changes are noticed.
	Connected bool
	// NotFollowedSince is since when the apps, which were read once, may have
	// changed without this Relay, while another Relay that reads the same may have seen the
	// change. It is zero while Connected. It is always zero for files: each Relay has its own.
	NotFollowedSince time.Time
	// LastSync is when everything was last read; zero when it never was.
	LastSync time.Time
	// LastError is why the latest read or connection failed, one mistake a line; empty
	// when it did not fail. What was read before stays in use.
	LastError string
	// Apps counts the apps known.
	Apps int
	// Problems are those that no app has by itself, such as an agent whose name is not
	// resolved. They are bounded in number.
	Problems []problem.Problem
	// Asking tells that Problems may lack some, since something is being looked up for
	// the first time, such as the name of an agent.
	Asking bool
}
