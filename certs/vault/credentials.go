package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/credentials"
	"relay/credentials/reading"
	"relay/internal/coalesce"
	"relay/internal/problem"
)

// valueField has the value of a credential.
const valueField = "value"

// Credentials reads the credentials that apps name from a KV version 2 path, and hands them to a sink. It has a login
// of its own, so that neither it nor Source waits for the other.
type Credentials struct {
	path      string
	sink      credentials.Sink
	reloads   *coalesce.Requests
	reporter  *reading.Reporter
	transport *failover
	client    *client
	schedule  schedule
	known     map[string]*knownCredential // by path
	// unread are the folders that Vault does not let be listed, and why.
	unread map[string]string
	// passed are entries that no app can name.
	passed []string
}

// knownCredential is one entry.
type knownCredential struct {
	credential *credentials.Credential // the last good one; nil if there was none
	version    int
	failure    string
	// absent and older count the reads in a row that did not have the entry, or an older one of it.
	absent, older int
}

// NewCredentials checks the configuration; Vault is not asked before Serve. The path is a mount of KV version 2, or
// below one.
func NewCredentials(config Config, path string, sink credentials.Sink, logger *slog.Logger, registerer prometheus.Registerer) (*Credentials, error) {
	config, addresses, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	api, transport, err := newAPIClient(config, addresses)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return &Credentials{
		path: strings.Trim(path, "/"), sink: sink, reloads: coalesce.NewRequests(),
		reporter: reading.NewReporter(source, logger, registerer), transport: transport,
		client:   &client{api: api, auth: &auth{config: config, api: api, logger: logger}, setting: "--vault-credentials"},
		schedule: schedule{interval: config.PollInterval}, known: make(map[string]*knownCredential),
	}, nil
}

// Status returns the outcome of the latest reads.
func (s *Credentials) Status() reading.Status { return s.reporter.Status() }

// Reload waits for a read that started after the call and returns why it failed. Without a running Serve it waits for
// the context's end.
func (s *Credentials) Reload(ctx context.Context) error { return s.reloads.Ask().Wait(ctx) }

// Serve reads Vault now, at every poll and at every Reload, and keeps the token alive, until the context ends. Failed
// reads are retried and never end it: what was read stays in use.
func (s *Credentials) Serve(ctx context.Context) error {
	defer s.transport.base.CloseIdleConnections()
	s.schedule.start(time.Now())
	return follow(ctx, s.reloads, func(time.Time) time.Time { return s.schedule.next(s.client.auth.renewAt) }, s.read, s.work)
}

// work renews the token, and reads, each if it is time.
func (s *Credentials) work(ctx context.Context) {
	s.client.auth.renewInTime(ctx)
	if s.schedule.isTimeToRead(time.Now()) {
		s.read(ctx)
	}
}

// read reads once, and answers those who asked for it.
func (s *Credentials) read(ctx context.Context) {
	s.reloads.Do(func(run *coalesce.Run) error {
		s.schedule.begin(time.Now())
		changed, err := s.readAll(ctx)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			s.reporter.Failed(err)
			s.schedule.failed(now, err)
			return err
		}
		all, problems := s.collect(now)
		s.reporter.Succeeded(now, len(all), problems)
		s.sink.SyncCredentials(source, all, problems)
		s.schedule.succeeded(now, run.Asked(), changed)
		return nil
	})
}

// readAll reads all entries. An error means that it is not known what there is: what is known stays.
func (s *Credentials) readAll(ctx context.Context) (changed bool, err error) {
	if err := s.client.auth.ensure(ctx); err != nil {
		return false, err
	}
	listed, unread, err := s.list(ctx)
	if isForbidden(err) {
		if recovered, recoverErr := s.client.auth.recover(ctx); recoverErr != nil {
			return false, fmt.Errorf("%w; %w", err, recoverErr)
		} else if recovered {
			listed, unread, err = s.list(ctx)
		}
	}
	if isForbidden(err) {
		err = fmt.Errorf("%w: give Relay's policy the right to list it, and to read what is in it", err)
	}
	if err != nil {
		s.client.mount = "" // it may be the reason; it is looked up again
		return false, err
	}
	there := make(map[string]bool)
	for _, path := range listed {
		present, news, err := s.readOne(ctx, path)
		if err != nil {
			return false, err
		}
		there[path] = present
		changed = changed || news
	}
	s.unread = unread
	return s.dropAbsent(there) || changed, nil
}

// list returns the paths of all entries, and the folders that cannot be listed.
func (s *Credentials) list(ctx context.Context) (paths []string, unread map[string]string, err error) {
	if err := s.client.detectMount(ctx, s.path); err != nil {
		return nil, nil, err
	}
	unread, s.passed = make(map[string]string), nil
	folders := []string{""}
	for len(folders) > 0 {
		folder := folders[0]
		folders = folders[1:]
		names, err := s.client.list(ctx, strings.TrimSuffix(folder, "/"))
		switch {
		case isForbidden(err) && folder != "":
			unread[folder] = "Vault does not let it be listed: give Relay's policy the right to"
			continue
		case err != nil:
			return nil, nil, err
		}
		for _, name := range names {
			below, isFolder := strings.CutSuffix(name, "/")
			switch {
			case isFolder && credentials.CheckFolder(below) == nil && strings.Count(folder, "/") < credentials.MaxDepth:
				folders = append(folders, folder+name)
			case !isFolder && credentials.CheckName(name) == nil:
				paths = append(paths, folder+name)
			default:
				s.passed = append(s.passed, folder+name)
			}
		}
		if len(paths)+len(folders)+len(s.passed) > credentials.MaxCount {
			return nil, nil, fmt.Errorf("%s has more than %d credentials", s.path, credentials.MaxCount)
		}
	}
	slices.Sort(paths)
	return paths, unread, nil
}

// readOne reads an entry. present is false if it is deleted.
func (s *Credentials) readOne(ctx context.Context, path string) (present, changed bool, err error) {
	n := s.known[path]
	if n == nil {
		n = &knownCredential{}
	}
	entry, err := s.client.readKV(ctx, path, 0)
	switch {
	case isForbidden(err):
		n.failure = "Vault does not let it be read: give Relay's policy the right to"
	case err != nil:
		return false, false, err
	case entry.data == nil:
		return false, false, nil
	case entry.version < n.version && n.older < suspiciousReads:
		n.older++
		n.failure = fmt.Sprintf("it has version %d, but had %d before: %v", entry.version, n.version, errSuspicious)
	default:
		n.older, changed = 0, entry.version != n.version
		n.version = entry.version
		n.take(path, entry)
	}
	s.known[path] = n
	return true, changed, nil
}

// take takes in the content of an entry. If it cannot be used the last good one stays.
func (n *knownCredential) take(path string, entry kvEntry) {
	var value *string
	if err := json.Unmarshal(entry.data[valueField], &value); err != nil || value == nil {
		n.failure = fmt.Sprintf("version %d has no text in the field %q", entry.version, valueField)
		return
	}
	switch {
	case *value == "":
		n.failure = fmt.Sprintf("version %d: the field %q is empty", entry.version, valueField)
	case len(*value) > credentials.MaxValue:
		n.failure = fmt.Sprintf("version %d has more than %d bytes", entry.version, credentials.MaxValue)
	default:
		n.failure = ""
		is := &credentials.Credential{Source: source, Path: path, Value: []byte(*value)}
		if !is.Equal(n.credential) {
			n.credential = is
		}
	}
}

// dropAbsent drops the entries that enough reads did not have.
func (s *Credentials) dropAbsent(there map[string]bool) (dropped bool) {
	enough := removalReads
	if !slices.Contains(slices.Collect(maps.Values(there)), true) {
		enough += suspiciousReads // as after a restore, or from a replica that is behind
	}
	for path, n := range s.known {
		switch {
		case there[path]:
			n.absent = 0
		case s.hidden(path):
		default:
			if n.absent++; n.absent >= enough || n.credential == nil {
				delete(s.known, path)
				dropped = true
			}
		}
	}
	return dropped
}

// hidden reports whether an entry is in a folder that cannot be listed.
func (s *Credentials) hidden(path string) bool {
	for folder := range s.unread {
		if strings.HasPrefix(path, folder) {
			return true
		}
	}
	return false
}

// collect lists what there is, and all that is wrong.
func (s *Credentials) collect(now time.Time) (all []*credentials.Credential, problems []problem.Problem) {
	tell := func(subject, reason string) {
		problems = append(problems, problem.Problem{Subject: subject, Reason: reason})
	}
	for _, folder := range slices.Sorted(maps.Keys(s.unread)) {
		all = append(all, &credentials.Credential{Source: source, Path: folder})
		tell(strings.TrimSuffix(folder, "/"), s.unread[folder])
	}
	for _, path := range slices.Sorted(maps.Keys(s.known)) {
		n, stays := s.known[path], ""
		if n.credential != nil {
			all, stays = append(all, n.credential), "; what was read of it last stays in use"
		} else {
			all = append(all, &credentials.Credential{Source: source, Path: path})
		}
		switch {
		case n.absent > 0:
			tell(path, "it is gone; it is dropped when further reads agree")
		case n.failure != "":
			tell(path, n.failure+stays)
		}
	}
	for _, path := range s.passed {
		tell(shortened(path), "it is passed over: no app can name it, for its name or depth")
	}
	if reason := s.client.auth.problem(now); reason != "" {
		tell("token", reason)
	}
	return all, problems
}

var errNoPath = errors.New("--vault-credentials: no path is given")

// CheckCredentialsPath says why a path can have no credentials.
func CheckCredentialsPath(path string) error {
	if strings.Trim(path, "/") == "" {
		return errNoPath
	}
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." {
			return fmt.Errorf("--vault-credentials: %q is no path in Vault", path)
		}
	}
	return nil
}
