package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// configFile gives the settings of a YAML file to the flags of the same names.
type configFile struct {
	name   string
	values map[string]any
	lines  map[string]int
	fleets []FleetSettings
}

const fleetsKey = "fleets"

// loadConfigFile returns a kong.ConfigurationLoader. Fleets have no flag: they
// are handed to setFleets. settings returns the names of all flags.
func loadConfigFile(setFleets func([]FleetSettings), settings func() []string) kong.ConfigurationLoader {
	return func(r io.Reader) (kong.Resolver, error) {
		name := "configuration file"
		if f, ok := r.(interface{ Name() string }); ok {
			name = f.Name()
		}
		data, err := io.ReadAll(r)
		if errors.Is(err, syscall.EISDIR) {
			return nil, fmt.Errorf("%s is a directory: give a YAML file", name)
		}
		if err != nil {
			return nil, err
		}
		file, err := parseConfigFile(name, data, settings())
		if err != nil {
			return nil, err
		}
		setFleets(file.fleets)
		return file, nil
	}
}

// parseConfigFile refuses settings that are none of those given: before anything else is
// looked at, which may miss just these.
func parseConfigFile(name string, data []byte, settings []string) (*configFile, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w%s", name, err, tabHint(data))
	}
	file := &configFile{name: name, values: make(map[string]any), lines: make(map[string]int)}
	if len(doc.Content) == 0 {
		return file, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want settings such as \"marathon: [http://localhost:8080]\"", name, root.Line)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if _, twice := file.lines[key.Value]; twice {
			return nil, fmt.Errorf("%s:%d: %s is set twice", name, key.Line, key.Value)
		}
		file.lines[key.Value] = key.Line
		if err := checkKey(key.Value, settings); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, key.Line, err)
		}
		if key.Value == fleetsKey {
			var err error
			if file.fleets, err = decodeFleets(name, value); err != nil {
				return nil, err
			}
			continue
		}
		text, err := settingText(value)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", name, value.Line, key.Value, err)
		}
		file.values[key.Value] = text
	}
	return file, nil
}

// settingText returns a value in the form a flag takes.
func settingText(value *yaml.Node) (string, error) {
	switch value.Kind {
	case yaml.ScalarNode:
		return value.Value, nil
	case yaml.SequenceNode:
		items := make([]string, len(value.Content))
		for i, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errors.New("want a list of plain values")
			}
			items[i] = strings.ReplaceAll(item.Value, ",", `\,`)
		}
		return strings.Join(items, ","), nil
	}
	return "", errors.New("want a plain value or a list")
}

// fleetKeys are the keys of a FleetSettings.
var fleetKeys = yamlKeys(reflect.TypeFor[FleetSettings]())

func yamlKeys(t reflect.Type) (keys []string) {
	for field := range t.Fields() {
		key, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if options == "inline" {
			keys = append(keys, yamlKeys(field.Type)...)
			continue
		}
		keys = append(keys, key)
	}
	return keys
}

func decodeFleets(name string, value *yaml.Node) ([]FleetSettings, error) {
	if value.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("%s:%d: %s: want a list of fleets, each with name, http and https, such as \"- {name: external, http: '0.0.0.0:80'}\"", name, value.Line, fleetsKey)
	}
	var all []FleetSettings
	for _, node := range value.Content {
		if node.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("%s:%d: want a fleet with name, http and https", name, node.Line)
		}
		for i := 0; i < len(node.Content); i += 2 {
			if key := node.Content[i]; !slices.Contains(fleetKeys, key.Value) {
				return nil, fmt.Errorf("%s:%d: a fleet has no %q%s: it has %s", name, key.Line, key.Value, didYouMean(key.Value, fleetKeys), strings.Join(fleetKeys, ", "))
			}
		}
		if err := checkFleetAddresses(name, node); err != nil {
			return nil, err
		}
		var fleet FleetSettings
		if err := node.Decode(&fleet); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, node.Line, err)
		}
		all = append(all, fleet)
	}
	return all, nil
}

// Validate implements kong.Resolver: keys were checked when the file was read.
func (f *configFile) Validate(*kong.Application) error { return nil }

// Resolve gives a flag its value, unless the environment has one, which kong
// would ignore otherwise.
func (f *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, variable := range flag.Envs {
		if _, ok := os.LookupEnv(variable); ok {
			return nil, nil
		}
	}
	return f.values[flag.Name], nil
}
