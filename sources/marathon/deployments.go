package marathon

import "strings"

// deployments holds the ids of the apps that each running deployment names, by the
// deployment's id. Marathon announces a deployment before the new definitions can be
// read. The event that says that they can be read names a group only.
type deployments map[string][]string

const maxDeployments = 1000

// apply notes an event. It returns the ids of the apps to read for it, and whether
// everything has to be read.
func (d deployments) apply(c change) (apps []string, full bool) {
	apps, full = c.apps, c.full
	switch {
	case c.group != "":
		for _, ids := range d {
			for _, id := range ids {
				if c.group == "/" || strings.HasPrefix(id, c.group+"/") {
					apps = append(apps, id)
				}
			}
		}
		full = true
	case c.ended:
		if known, ok := d[c.deployment]; ok {
			apps, full = append(apps, known...), false
			delete(d, c.deployment)
		}
	case c.deployment != "" && len(c.apps) > 0:
		if len(d) >= maxDeployments {
			clear(d)
		}
		d[c.deployment] = c.apps
	}
	return apps, full
}
