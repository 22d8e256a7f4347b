package marathontest

import (
	"bytes"
	"testing"
)

func FuzzUpdate(f *testing.F) {
	for _, seed := range []string{
		`{}`,
		`{"instances":3,"labels":null,"ports":[0,8080]}`,
		`{"container":{"docker":{"network":"BRIDGE","portMappings":[{"containerPort":80},null]}}}`,
		`{"networks":[{"name":"dcos"}],"container":{"portMappings":[{"hostPort":0}]}}`,
		`{"networks":[7],"container":[],"portDefinitions":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fields, err := parseFields(data)
		if err != nil {
			return
		}
		port := 10000
		nextPort := func() int { port++; return port }
		def, err := update("/a", nil, fields, "v1", false, nextPort)
		if err != nil {
			return
		}
		same, err := update("/a", def, map[string]any{}, "v2", false, nextPort)
		if err != nil || same != def {
			t.Errorf("an empty update changes %s, %v", def.json, err)
		}
		again, err := parseDefinition(def.json)
		if err != nil || !bytes.Equal(again.json, def.json) {
			t.Errorf("%s cannot be loaded: %v", def.json, err)
		}
	})
}
