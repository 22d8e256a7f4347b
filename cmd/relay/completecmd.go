package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/terminal"
)

// completeCmd is called by the completion of shells, see internal/clidocs. Line is the command
// line so far, which may say which Relay to ask.
type completeCmd struct {
	Kind        string `arg:"" enum:"app,domain,subject,envoy,certificate,fleet,deployment"`
	Begun       string `arg:"" optional:""`
	Line        string `arg:"" optional:""`
	ClientFlags `embed:""`
}

// What people wait for at most when they press the tab key, and how many names they look at.
const (
	completeTimeout = time.Second
	maxCompleted    = 200
)

// Run prints names of what a running Relay has. It says nothing of what goes wrong: that would
// be written into the line that is being typed.
func (c *completeCmd) Run(ctx context.Context, out streams) error {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	relay, err := c.fromLine().client(io.Discard)
	if err != nil {
		return nil
	}
	defer relay.Close()
	for _, kind := range kindsOf(c.Kind, c.Begun) {
		for _, name := range kind.names(ctx, relay, c.Begun) {
			// A name that a shell might not take as it is stays out.
			if strings.HasPrefix(name, c.Begun) && name == terminal.Clean(name) && quotedWord(strings.TrimPrefix(name, "*")) == strings.TrimPrefix(name, "*") {
				fmt.Fprintln(out.out, name)
			}
		}
	}
	return nil
}

// fromLine takes what the line says of the Relay to ask.
func (c *completeCmd) fromLine() ClientFlags {
	flags := c.ClientFlags
	of := map[string]*string{
		"--admin": &flags.Admin, "--admin-token-file": &flags.TokenFile, "--admin-ca": &flags.CA, "--admin-client-cert": &flags.Cert, "--admin-client-key": &flags.Key,
	}
	words := strings.Fields(c.Line)
	for i, word := range words {
		name, value, joined := strings.Cut(word, "=")
		if !joined && i+1 < len(words) {
			value = words[i+1]
		}
		if flag := of[name]; flag != nil {
			*flag = strings.Trim(value, `'"`)
		}
	}
	return flags
}

// nameable is a list of the API whose entries have names.
type nameable struct {
	list string
	name func(item json.RawMessage) []string
	// parts tells that a name may begin with what it belongs to, and a slash.
	parts bool
}

// kindsOf returns the lists to look in. A subject that begins with "/" is an app.
func kindsOf(kind, begun string) (kinds []nameable) {
	has := func(of string) bool { return kind == of || kind == "subject" && (of == "app" || of == "domain") }
	if has("app") && (kind == "app" || begun == "" || strings.HasPrefix(begun, "/")) {
		kinds = append(kinds, nameable{"apps", nameIn(func(v api.App) []string { return []string{v.ID} }), false})
	}
	if has("domain") && !strings.HasPrefix(begun, "/") {
		kinds = append(kinds, nameable{"domains", nameIn(func(v api.Domain) []string { return []string{v.Name} }), false})
	}
	if has("envoy") {
		kinds = append(kinds, nameable{"envoys", nameIn(func(v api.Envoy) []string { return []string{v.ID, v.Fleet + "/" + v.ID} }), true})
	}
	if has("certificate") {
		kinds = append(kinds, nameable{"certificates", nameIn(func(v api.Certificate) []string { return []string{v.Name, v.Source + "/" + v.Name} }), true})
	}
	if has("fleet") {
		kinds = append(kinds, nameable{"fleets", nameIn(func(v api.Fleet) []string { return []string{v.Name} }), false})
	}
	if has("deployment") {
		kinds = append(kinds, nameable{"deployments", nameIn(func(v api.Deployment) []string { return []string{v.Group} }), false})
	}
	return kinds
}

func nameIn[T any](names func(T) []string) func(json.RawMessage) []string {
	return func(item json.RawMessage) []string {
		var v T
		if json.Unmarshal(item, &v) != nil {
			return nil
		}
		return names(v)
	}
}

func (n nameable) names(ctx context.Context, relay *client.Client, begun string) (names []string) {
	if n.parts {
		begun = begun[strings.LastIndexByte(begun, '/')+1:]
	}
	_ = relay.Pages(ctx, n.list, n.list, queryOf("q", begun), maxCompleted, func(page client.Page) error {
		for _, item := range page.Items {
			names = append(names, n.name(item)...)
		}
		return nil
	})
	slices.Sort(names)
	return slices.Compact(names)
}
