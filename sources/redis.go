package sources

import "slices"

// Redis says how a TCP service speaks the protocol of Redis. It is never modified.
type Redis struct {
	// Password names the credential that clients have to know; they need none when it is empty.
	Password string `json:",omitempty"`
	// ServerPassword names the one by which Envoys get into the servers.
	ServerPassword string `json:",omitempty"`
	// Prefixes are those of keys that are with the servers of other apps, sorted; no two are the same.
	Prefixes []RedisPrefix `json:",omitempty"`
}

// RedisPrefix says which app has the keys that begin so.
type RedisPrefix struct {
	Prefix string
	App    AppRef
}

func (r *Redis) uses() (uses []Use) {
	if r == nil {
		return nil
	}
	for _, of := range r.Prefixes {
		uses = append(uses, Use{AppRef: of.App, Setting: "REDIS_PREFIXES", Redis: true,
			Without: "commands fail whose keys begin with " + of.Prefix})
	}
	return uses
}

// credentials returns the names of those that clients and servers of Redis are asked for.
func (r *Redis) credentials() (names []string) {
	if r == nil {
		return nil
	}
	for _, name := range []string{r.Password, r.ServerPassword} {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
