package labels

// InEnvoy says by which field or filter of Envoy a label does what it asks for, as the tables of
// docs/labels.md do; empty if the label is not known or has no effect. Names are between backticks. The ports are the names of those
// of the app.
func InEnvoy(key string, ports []string) string {
	r := &reader{names: make(map[string]int, len(ports))}
	for i, name := range ports {
		r.names[name] = i
	}
	l := known.ofApp(key)
	if l == nil {
		split, _ := r.splitKey(key)
		l = split.label
	}
	if l == nil {
		return ""
	}
	return l.envoy
}
