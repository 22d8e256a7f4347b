package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// client reads KV version 2 (https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2).
type client struct {
	api  *api.Client
	auth *auth
	// mount and prefix split the configured path; mount is empty until it was
	// detected.
	mount, prefix string
	// setting is the flag that has the path, where that is not --vault-mount.
	setting string
	// detected is the mount as Vault told it; empty where the policy does not allow to ask.
	detected string
}

// kvEntry is one version of an entry.
type kvEntry struct {
	// data is nil when there is no such entry, or its version was deleted.
	data    map[string]json.RawMessage
	version int
}

// answer is the envelope of every Vault answer, as far as it is used.
type answer struct {
	Data   json.RawMessage `json:"data"`
	Errors []string        `json:"errors"`
}

// statusError is an answer that is neither the data nor its absence.
type statusError struct {
	status     int
	text       string
	retryAfter time.Duration
}

func (e *statusError) Error() string { return fmt.Sprintf("Vault answered %d%s", e.status, e.text) }

func isForbidden(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.status == http.StatusForbidden
}

func isNotFound(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.status == http.StatusNotFound
}

// readKV reads an entry; version 0 is the newest one.
func (c *client) readKV(ctx context.Context, path string, version int) (kvEntry, error) {
	var params map[string][]string
	if version > 0 {
		params = map[string][]string{"version": {strconv.Itoa(version)}}
	}
	full := c.mount + "/data/" + c.prefix + path
	got, err := c.get(ctx, full, params)
	if err != nil {
		return kvEntry{}, fmt.Errorf("read %q: %w", full, err)
	}
	decoded, ok := decodeEntry(got)
	if !ok {
		return kvEntry{}, fmt.Errorf("read %q: the answer is not one of KV version 2", full)
	}
	return decoded, nil
}

// list returns the names of the entries below a path; none if there is no such path.
func (c *client) list(ctx context.Context, path string) ([]string, error) {
	full := c.mount + "/metadata/" + c.prefix + path
	got, err := c.get(ctx, full, map[string][]string{"list": {"true"}})
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", full, err)
	}
	if len(got) == 0 || string(got) == "null" {
		return nil, nil
	}
	var names struct{ Keys []string }
	if err := json.Unmarshal(got, &names); err != nil {
		return nil, fmt.Errorf("list %q: the answer cannot be read", full)
	}
	return names.Keys, nil
}

// decodeEntry reads the "data" of an answer, which is empty for an entry that
// was never written.
func decodeEntry(got json.RawMessage) (entry kvEntry, ok bool) {
	if len(got) == 0 || string(got) == "null" {
		return kvEntry{}, true
	}
	var body struct {
		Data     map[string]json.RawMessage
		Metadata *struct{ Version int }
	}
	if err := json.Unmarshal(got, &body); err != nil || body.Metadata == nil {
		return kvEntry{}, false
	}
	return kvEntry{data: body.Data, version: body.Metadata.Version}, true
}

// get returns the "data" of an answer. It is empty for a plain 404; a 404 that
// names errors, or is not Vault's at all, is an error.
func (c *client) get(ctx context.Context, path string, params map[string][]string) (json.RawMessage, error) {
	response, err := c.api.Logical().ReadRawWithDataWithContext(ctx, path, params)
	if response == nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		text := c.auth.redact(err)
		return nil, errors.New(text + connectHint(text))
	}
	defer func() { _ = response.Body.Close() }()
	var body answer
	raw, decodeErr := io.ReadAll(response.Body) // the transport bounds it
	if decodeErr == nil {
		decodeErr = json.Unmarshal(raw, &body)
	}
	switch {
	case response.StatusCode == http.StatusOK && decodeErr == nil:
		return body.Data, nil
	case response.StatusCode == http.StatusNotFound && decodeErr == nil && len(body.Errors) == 0:
		return body.Data, nil
	case decodeErr != nil:
		body.Errors = []string{notVault(string(raw))}
	}
	text := ""
	if len(body.Errors) > 0 {
		text = ": " + c.auth.redact(errors.New(strings.Join(body.Errors, "; ")))
	}
	return nil, &statusError{status: response.StatusCode, text: text, retryAfter: retryAfter(response.Header)}
}

// detectMount finds out where the mount ends and the path in it begins, and
// that it is KV version 2. Where the policy does not allow to ask, the
// configured path is taken as the mount.
func (c *client) detectMount(ctx context.Context, path string) error {
	if c.mount != "" {
		return nil
	}
	data, err := c.get(ctx, "sys/internal/ui/mounts/"+path, nil)
	var status *statusError
	switch {
	case errors.As(err, &status) && (status.status == http.StatusForbidden || status.status == http.StatusNotFound),
		err == nil && len(data) == 0:
		c.mount, c.prefix, c.detected = path, "", ""
		return nil
	case err != nil:
		return fmt.Errorf("look up the mount %q: %w", path, err)
	}
	var mount struct {
		Path, Type string
		Options    map[string]string
	}
	if err := json.Unmarshal(data, &mount); err != nil {
		return fmt.Errorf("look up the mount %q: the answer cannot be read", path)
	}
	if mount.Type != "kv" || mount.Options["version"] != "2" {
		return fmt.Errorf("the mount %q (%s) is not KV version 2 (type %q, version %q): Relay needs its versions; name another, or upgrade it with \"vault kv enable-versioning\"",
			mount.Path, cmp.Or(c.setting, "--vault-mount"), mount.Type, mount.Options["version"])
	}
	c.mount = strings.Trim(mount.Path, "/")
	c.detected = c.mount
	if c.prefix = strings.Trim(strings.TrimPrefix(path, c.mount), "/"); c.prefix != "" {
		c.prefix += "/"
	}
	return nil
}

// retryAfter reads the header in its form in seconds, the one Vault sends.
func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, 3600)) * time.Second
}
