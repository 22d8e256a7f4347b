package collator

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/proto"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/internal/secret"
	"relay/sources"
)

const (
	// maxPasswords is how many passwords a credential may have, one a line.
	maxPasswords = 10
	// keptPasswords is for how many values of a credential, the present one among them, connections stay.
	keptPasswords = 5
)

// redisPasswords are the passwords of clients of a service of Redis: those of now, and those of before, by which clients
// were let in that are still connected. What was before Relay started is not known: then those clients are disconnected.
type redisPasswords struct {
	credential string
	values     [][]secret.String // the newest first
}

// buildRedis makes the listener of a service of Redis; nil if a credential that it needs is not there, and nobody has been
// let in before.
func (f *fleetState) buildRedis(s routing.Service) (proto.Message, error) {
	access := envoy.RedisAccess{Prefixes: f.prefixClusters(s)}
	passwords := f.passwordsOf(s.App, s.Redis.Password)
	access.Closed = s.Redis.Password != "" && len(passwords) == 0 ||
		s.Redis.ServerPassword != "" && len(f.passwordsOf(s.App, s.Redis.ServerPassword)) == 0
	kept := f.redisPasswords[s.Cluster()]
	if kept.credential != s.Redis.Password {
		kept = redisPasswords{credential: s.Redis.Password}
	}
	if !access.Closed {
		kept.values = slices.Insert(slices.DeleteFunc(slices.Clone(kept.values), func(v []secret.String) bool { return slices.Equal(v, passwords) }), 0, passwords)
		kept.values = kept.values[:min(keptPasswords, len(kept.values))]
	}
	if f.redisPasswords[s.Cluster()] = kept; len(kept.values) == 0 {
		return nil, nil
	}
	access.Passwords = kept.values
	return envoy.TCPListener(&f.Fleet, s, access)
}

// passwordsOf returns the passwords that an app's credential has, one a line: none if it is not there.
func (f *fleetState) passwordsOf(app, name string) (passwords []secret.String) {
	if name == "" {
		return nil
	}
	found, _ := f.credential(app, name)
	if found == nil {
		return nil
	}
	for line := range bytes.Lines(found.Value) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 && len(passwords) < maxPasswords {
			passwords = append(passwords, secret.String(line))
		}
	}
	return passwords
}

// serverPassword is the one by which Envoys get into the servers of an app port; empty if they ask for none.
func (f *fleetState) serverPassword(app string, c routing.Connections) secret.String {
	if passwords := f.passwordsOf(app, c.RedisCredential); len(passwords) > 0 {
		return passwords[0]
	}
	return ""
}

// prefixClusters are the clusters that have the keys of each prefix; none for those of apps that may not be used.
// That an app goes or comes changes no listener: a cluster that is not there answers that it is not.
func (f *fleetState) prefixClusters(s routing.Service) map[string]string {
	clusters := make(map[string]string, len(s.Redis.Prefixes))
	for _, of := range s.Redis.Prefixes {
		clusters[of.Prefix] = f.uses.found[s.App][s.Port][of.App].Cluster
		if f.c.apps[of.App.App] == nil && f.c.routed(of.App.App) == nil && f.mayUseUnseen(s.App, of.App) {
			clusters[of.Prefix] = routing.ClusterName(of.App.App, of.App.Port)
		}
	}
	return clusters
}

// mayUseUnseen reports whether an app may use another one whatever that says.
func (f *fleetState) mayUseUnseen(user string, of sources.AppRef) bool {
	return !slices.ContainsFunc(f.c.membersOf(user), func(by *sources.App) bool {
		return routing.MayUse(by.ID, &sources.App{ID: of.App}, of.Port) != ""
	})
}
