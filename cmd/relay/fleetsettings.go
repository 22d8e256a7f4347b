package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/alecthomas/kong"
)

// renamedInFleets are the settings of the one fleet that have another name under fleets.
var renamedInFleets = map[string]string{"fleet": "name", "xds-clients": "clients"}

// keyInFleets returns the key under fleets that has what a setting has for the one fleet,
// or nothing if the setting is for all fleets.
func keyInFleets(setting string) string {
	if key, ok := renamedInFleets[setting]; ok {
		return key
	}
	if slices.Contains(fleetKeys, setting) {
		return setting
	}
	return ""
}

// misplaced says which settings of the one fleet are given beside fleets, where they would
// have no effect.
func misplaced(kctx *kong.Context) error {
	given := make(map[*kong.Value]string) // how, for people
	for _, path := range kctx.Path {
		switch {
		case path.Flag != nil && path.Resolved:
			given[path.Flag.Value] = path.Flag.Name + " at the top of the configuration file"
		case path.Flag != nil:
			given[path.Flag.Value] = "--" + path.Flag.Name
		}
	}
	var errs []error
	for _, flag := range kctx.Flags() {
		key := keyInFleets(flag.Name)
		if key == "" {
			continue
		}
		how, ok := given[flag.Value]
		for _, variable := range flag.Envs {
			if _, set := os.LookupEnv(variable); set && !ok {
				how, ok = variable+" in the environment", true
			}
		}
		if ok {
			errs = append(errs, fmt.Errorf("%s belongs under fleets: the configuration file has fleets, so write %s: there, for each fleet that it is for", how, key))
		}
	}
	return errors.Join(errs...)
}
