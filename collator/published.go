package collator

import "relay/xds"

// published is what the publisher of a fleet was told.
type published struct {
	versions map[xds.Key]string
	// withheld are the resources of which it was told nothing, and those of a change
	// during which it panicked: nobody knows then what it took in. Each is published
	// whatever its version, and if it does not exist, its absence is.
	withheld   map[xds.Key]struct{}
	references *references
}

func newPublished() published {
	return published{versions: make(map[xds.Key]string), withheld: make(map[xds.Key]struct{}), references: newReferences()}
}

// begin notes that a change is going to be published.
func (p *published) begin(change xds.Change) {
	for _, resource := range change.Set {
		p.withheld[resource.Key] = struct{}{}
	}
	for _, key := range change.Remove {
		p.withheld[key] = struct{}{}
	}
}

// record notes that a change was published, and what its resources name.
func (p *published) record(change xds.Change, names map[xds.Key][]xds.Key) {
	for _, resource := range change.Set {
		p.versions[resource.Key] = resource.Version
		p.references.set(resource.Key, names[resource.Key])
		delete(p.withheld, resource.Key)
	}
	for _, key := range change.Remove {
		delete(p.versions, key)
		p.references.set(key, nil)
		delete(p.withheld, key)
	}
	for _, key := range change.Withhold {
		p.withheld[key] = struct{}{}
	}
}
