package traefik

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"unicode"
)

// ParseEntryPoints reads entry points such as "web=external/http websecure=external/https mqtt=external/tcp/1883", with
// spaces or commas between. The fleet may be left out if there is only one.
func ParseEntryPoints(text string, fleets []string) (map[string]EntryPoint, error) {
	all := make(map[string]EntryPoint)
	for _, field := range strings.FieldsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || c == ',' }) {
		name, where, ok := strings.Cut(field, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%.60q is no entry point: write it as websecure=external/https", field)
		}
		parts := strings.Split(where, "/")
		if slices.Contains([]string{"http", "https", "tcp"}, parts[0]) && len(fleets) == 1 {
			parts = append([]string{fleets[0]}, parts...)
		}
		if !slices.Contains(fleets, parts[0]) {
			return nil, fmt.Errorf("%.60q names no fleet: these are %s", field, strings.Join(fleets, ", "))
		}
		e := EntryPoint{Fleet: parts[0]}
		switch {
		case len(parts) == 2 && (parts[1] == "http" || parts[1] == "https"):
			e.Scheme = parts[1]
		case len(parts) == 3 && parts[1] == "tcp":
			port, err := strconv.ParseUint(parts[2], 10, 16)
			if err != nil || port == 0 {
				return nil, fmt.Errorf("%.60q has no port: write it as mqtt=external/tcp/1883", field)
			}
			e.Scheme, e.Port = "tcp", uint16(port)
		default:
			return nil, fmt.Errorf("%.60q is no entry point: write http, https or tcp and a port behind the fleet", field)
		}
		name = strings.ToLower(name)
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%.60q is there twice", name)
		}
		all[name] = e
	}
	return all, nil
}

// UsualEntryPoints are the names that most people give to the entry points of a fleet.
func UsualEntryPoints(fleet string) map[string]EntryPoint {
	http, https := EntryPoint{Fleet: fleet, Scheme: "http"}, EntryPoint{Fleet: fleet, Scheme: "https"}
	return map[string]EntryPoint{"web": http, "http": http, "websecure": https, "https": https}
}

// ParseDefaultRule reads the rule of routers that have none: a template, with the id of the app as .Name and its labels
// as .Labels. It is nil if the text is empty.
func ParseDefaultRule(text string) (*template.Template, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	return template.New("default rule").Option("missingkey=zero").Funcs(template.FuncMap{
		"normalize": normalize, "lower": strings.ToLower, "trimPrefix": func(prefix, s string) string { return strings.TrimPrefix(s, prefix) },
		"replace": func(old, with, s string) string { return strings.ReplaceAll(s, old, with) },
	}).Parse(text)
}

// normalize writes a name with hyphens in place of all that is neither a letter nor a digit.
func normalize(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsNumber(c) }), "-")
}
