package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/admin"
	"relay/certs"
	"relay/collator"
	"relay/credentials"
	"relay/internal/files"
	"relay/internal/problem"
	"relay/sources"
	"relay/sources/file"
	"relay/statuspage"
	"relay/xds"
)

// errWrong says that something is wrong; what it is has been printed.
var errWrong = errors.New("not all is well")

// Check reads every source once, builds what would be served, and prints what is
// wrong. It returns an error if anything is wrong. Each source has the timeout to be
// read.
func Check(ctx context.Context, c Config, timeout time.Duration, out io.Writer) error {
	log := slog.New(slog.DiscardHandler)
	r, err := newChecker(&c, timeout, out, log)
	if err != nil {
		return err
	}
	if tlsFiles, err := newDownstreamFiles(&c, r.Collator, log); tlsFiles != nil {
		r.say("files for TLS", err)
	}
	if c.Probes.Enabled {
		settings, err := c.Probes.settings()
		if err == nil {
			_, err = probersOf(settings)
		}
		r.say("probes", err)
	}
	r.checkPorts(&c)
	r.checkBind(&c)
	r.checkState(c.State)
	for _, p := range c.settingsProblems() {
		r.say(p.Subject, errors.New(p.Reason))
	}
	r.checkScaling(ctx, c.Scaling)
	stop := r.serve(ctx)
	defer stop()
	if err := r.readApps(ctx, c.Apps, log); err != nil {
		return err
	}
	if err := r.readCertificates(ctx, c.Certificates, log); err != nil {
		return err
	}
	if err := r.readCredentials(ctx, c.Credentials, log); err != nil {
		return err
	}
	if err := r.Flush(ctx); err != nil {
		return err
	}
	return r.report()
}

func newChecker(c *Config, timeout time.Duration, out io.Writer, log *slog.Logger) (*checker, error) {
	c.readErrorPages()
	r := &checker{out: out, timeout: timeout, apps: make(chan struct{}, 1), certificates: make(map[string]chan struct{}), credentials: make(map[string]chan struct{})}
	collation := c.collatorConfig()
	publishers := make(map[string]collator.Publisher)
	for _, f := range collation.Fleets {
		publishers[f.Name] = xds.NewStore()
	}
	for _, name := range collation.CertificateSources {
		r.certificates[name] = make(chan struct{}, 1)
	}
	for _, name := range collation.CredentialSources {
		r.credentials[name] = make(chan struct{}, 1)
	}
	var err error
	r.Collator, err = collator.New(collation, publishers, log, prometheus.NewRegistry())
	return r, err
}

// checkPorts looks at what secures Relay's own ports, where a mistake ends
// "relay serve" at the start.
func (r *checker) checkPorts(c *Config) {
	for _, port := range []portCertificate{{"xds", c.xdsTLS()}, {"admin", c.adminTLS()}, {"status-page", c.StatusPage.serverTLS()}} {
		if !port.tls.enabled() {
			continue
		}
		_, err := port.tls.listen()
		if reason := port.wrong(time.Now()); err == nil && reason != "" {
			err = errors.New(reason)
		}
		r.say(port.setting(), err)
	}
	if c.Admin.TokenFile != "" {
		_, err := files.Secret(c.Admin.TokenFile)
		r.say("admin-token-file", err)
	}
	if c.StatusPage.enabled() {
		settings, err := statuspage.ReadSettings(c.StatusPage.File)
		r.say("status-page-file", errors.Join(err, settings.CheckPlaces()))
	}
	if c.StatusPage.Dir != "" {
		_, err := os.ReadDir(c.StatusPage.Dir)
		r.say("status-page-dir", err)
	}
}

// checkState looks at where state is saved, and with which key.
func (r *checker) checkState(s State) {
	if s.Dir == "" {
		return
	}
	_, err := s.key()
	r.say("saved state", errors.Join(s.checkDir(), err))
}

// readApps returns an error only for a configuration that cannot be tried.
func (r *checker) readApps(ctx context.Context, c Apps, log *slog.Logger) error {
	if c.File != "" {
		// All mistakes with their lines, in place of the first one.
		apps, err := file.Load(c.File)
		r.sayEach("file", err)
		for _, app := range apps {
			app.Problems = nil // they are in err, with their lines
		}
		if err == nil || len(apps) > 0 {
			r.SyncApps(apps)
		}
		return nil
	}
	source, err := newAppSource(c, r, log, nil)
	if err != nil {
		return err
	}
	asking := func() bool { return source.Status().Asking }
	r.say(source.Status().Kind, r.readOnce(ctx, source.Serve, r.apps, asking, func() admin.SourceView { return appsView(source.Status()) }))
	for _, p := range source.Status().Problems {
		r.say(p.Subject, errors.New(p.Reason))
	}
	return nil
}

func (r *checker) readCertificates(ctx context.Context, c Certificates, log *slog.Logger) error {
	all, err := newCertificateSources(c, r, log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	for _, source := range all {
		r.say(source.name()+" "+source.where, r.readOnce(ctx, source.Serve, r.certificates[source.name()], nil, source.view))
	}
	return nil
}

func (r *checker) readCredentials(ctx context.Context, c Credentials, log *slog.Logger) error {
	all, err := newCredentialSources(c, r, log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	for _, source := range all {
		r.say(source.name()+": "+source.where, r.readOnce(ctx, source.Serve, r.credentials[source.store.Status().Source], nil, source.view))
	}
	return nil
}

// readOnce lets a source run until it has read everything once, and asks for nothing more.
func (r *checker) readOnce(ctx context.Context, serve func(context.Context) error, read <-chan struct{}, asking func() bool, view func() admin.SourceView) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- serve(ctx) }()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-read:
			defer func() {
				cancel()
				<-failed
			}()
			for asking != nil && asking() {
				select {
				case <-poll.C:
				case <-ctx.Done():
					return nil // what is known by then is told
				}
			}
			return nil
		case err := <-failed:
			if last := view().LastError; ctx.Err() != nil && last != "" {
				return errors.New(last)
			}
			return err
		case <-poll.C:
			// A source that goes on trying says why it has to.
			if last := view().LastError; last != "" {
				cancel()
				<-failed
				return errors.New(last)
			}
		}
	}
}

// checker is a collator that tells when it was given something.
type checker struct {
	*collator.Collator
	out          io.Writer
	timeout      time.Duration // for each source
	apps         chan struct{}
	certificates map[string]chan struct{}
	credentials  map[string]chan struct{}
	wrong        int
}

var (
	_ sources.Sink    = (*checker)(nil)
	_ certs.StoreSink = (*checker)(nil)
)

func (r *checker) serve(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Collator.Serve(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// SyncApps hands on and tells.
func (r *checker) SyncApps(apps []*sources.App) {
	r.Collator.SyncApps(apps)
	signal(r.apps)
}

// SyncCertificates hands on and tells.
func (r *checker) SyncCertificates(source string, all []*certs.Certificate, problems []problem.Problem) {
	r.Collator.SyncCertificates(source, all, problems)
	signal(r.certificates[source])
}

// SyncCredentials hands on and tells.
func (r *checker) SyncCredentials(source string, all []*credentials.Credential, problems []problem.Problem) {
	r.Collator.SyncCredentials(source, all, problems)
	signal(r.credentials[source])
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (r *checker) say(what string, err error) {
	if err == nil {
		fmt.Fprintln(r.out, "ok    ", what)
		return
	}
	r.wrong++
	fmt.Fprintf(r.out, "wrong  %s: %v\n", what, err)
}

// sayEach says each mistake of a joined error by itself, so that each counts.
func (r *checker) sayEach(what string, err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		r.say(what, err)
		return
	}
	for _, each := range joined.Unwrap() {
		r.sayEach(what, each)
	}
}

// remarks says what is worth knowing of certificates and is not wrong, of the first ones.
func (r *checker) remarks() {
	said := 0
	for _, c := range r.Certificates() {
		for _, remark := range c.Remarks {
			if said++; said <= maxNotes {
				fmt.Fprintf(r.out, "note   %s: %s\n", c.Secret, remark)
			}
		}
	}
	if said > maxNotes {
		fmt.Fprintf(r.out, "note   and %d more of certificates\n", said-maxNotes)
	}
}

func (r *checker) report() error {
	problems := completed(r.Problems(), r.UncoveredProblems())
	r.sayProblems(problems)
	r.sayClosed(r.ClosedDomains(), problems)
	r.remarks()
	if uncovered, _ := r.UncoveredDomains(); len(uncovered) > 0 {
		fmt.Fprintf(r.out, "domains without a certificate: %d, such as %s in fleet %s: %s\n", len(uncovered), uncovered[0].Domain, uncovered[0].Fleet, uncovered[0].Reason)
	}
	fmt.Fprintf(r.out, "apps: %d, certificates: %d, to look at: %d\n", len(r.Apps()), len(r.Certificates()), r.wrong)
	fmt.Fprintln(r.out, r.Served())
	if r.wrong > 0 {
		return errWrong
	}
	return nil
}
