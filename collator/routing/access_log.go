package routing

import (
	"errors"
	"path"
	"strings"
)

// AccessLog says where the Envoys of a fleet write a line for each request; the zero value is nowhere. It is in the
// listeners: they change with it.
type AccessLog struct {
	// File is the path on the Envoy's machine.
	File string
	// Collector has Envoys send the lines to the collector that their bootstrap names.
	Collector bool
}

// ParseAccessLog reads "off", "file PATH" or "collector". No text is "off".
func ParseAccessLog(text string) (AccessLog, error) {
	kind, file, _ := strings.Cut(strings.TrimSpace(text), " ")
	file = strings.TrimSpace(file)
	switch {
	case (kind == "" || kind == "off") && file == "":
		return AccessLog{}, nil
	case kind == "collector" && file == "":
		return AccessLog{Collector: true}, nil
	case kind == "file" && path.IsAbs(file) && path.Clean(file) == file && file != "/" && !strings.ContainsFunc(file, func(r rune) bool { return r < ' ' }):
		return AccessLog{File: file}, nil
	case kind == "file":
		return AccessLog{}, errors.New("the file needs an absolute path, such as file /var/log/relay-envoy/external/access.json")
	}
	return AccessLog{}, errors.New("use off, file PATH or collector")
}
