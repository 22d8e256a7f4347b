package compare

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Asking is what is asked of both sides, and where they are.
type Asking struct {
	// Paths are asked for on each domain, besides those of rules.
	Paths []string
	// Method is GET or HEAD.
	Method string
	// Rate is how many requests a second each side gets at most, and Concurrency how many
	// domains and paths are asked about at the same time.
	Rate        float64
	Concurrency int
	// Limit is how many domains and paths are asked about; 0 is all.
	Limit int
	// Timeout bounds each answer.
	Timeout time.Duration
	// Progress is told how far it is; nil is nobody.
	Progress io.Writer

	header             http.Header
	old, new           *url.URL // plain HTTP
	oldHTTPS, newHTTPS *url.URL
	oldAdmin           *url.URL
	// askAdmin is false if nobody wants the admin endpoint to be asked; adminGuessed tells
	// that nobody said where it is.
	askAdmin, adminGuessed bool
	// greeting is what a test sets in place of the usual one; else 0.
	greeting time.Duration
}

// Addresses are where both sides answer, as people write them, and what is sent with each
// request.
type Addresses struct {
	Old, New, OldHTTPS, NewHTTPS, OldAdmin string
	// Header has lines such as "X-Team: shop".
	Header []string
}

// maxConcurrency bounds connections, and memory: each holds a body of maxBody bytes.
const maxConcurrency = 64

// adminPort is where marathon-lb says what it has.
const adminPort = "9090"

// noAdmin is what people give for the admin endpoint if it is not to be asked.
const noAdmin = "none"

// Read takes the addresses and checks all settings. Its errors name flags, and repeat nothing
// that may be a secret.
func (a *Asking) Read(from Addresses) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, one := range []struct {
		flag, text    string
		plain, secure **url.URL
	}{{"--old", from.Old, &a.old, &a.oldHTTPS}, {"--new", from.New, &a.new, &a.newHTTPS}, {"--old-https", from.OldHTTPS, nil, &a.oldHTTPS}, {"--new-https", from.NewHTTPS, nil, &a.newHTTPS}} {
		if one.text == "" {
			continue
		}
		u, err := parseAddress(one.text)
		switch {
		case err != nil:
			fail("%s %w", one.flag, err)
		case u.Scheme == "https" && *one.secure != nil:
			fail("%s: an address for HTTPS is given twice", one.flag)
		case u.Scheme == "https":
			*one.secure = u
		case one.plain == nil:
			fail("%s is not an https URL", one.flag)
		default:
			*one.plain = u
		}
	}
	switch {
	case (a.new != nil || a.newHTTPS != nil) && a.old == nil && a.oldHTTPS == nil:
		fail("--new without --old: nothing to compare with")
	case a.new != nil && a.old == nil, a.newHTTPS != nil && a.oldHTTPS == nil:
		fail("both sides are asked alike: give --old and --new, or --old-https and --new-https")
	}
	if !(a.Rate > 0) || math.IsInf(a.Rate, 1) || a.Concurrency < 1 || a.Concurrency > maxConcurrency || a.Limit < 0 || a.Timeout <= 0 {
		fail("--rate and --request-timeout must be positive, --concurrency from 1 to %d, --limit 0 or more", maxConcurrency)
	}
	for _, path := range a.Paths {
		if !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }) {
			fail("--path %.40q: write a path, such as /health", path)
		}
	}
	return errors.Join(append(errs, a.readHeader(from.Header), a.readAdmin(from.OldAdmin))...)
}

func (a *Asking) readHeader(lines []string) error {
	a.header = make(http.Header)
	for i, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("--header number %d is not 'Name: value'", i+1) // without its text: it may be a password
		}
		switch name = http.CanonicalHeaderKey(name); name {
		case "Host", "Connection", "Content-Length", "Transfer-Encoding":
			return fmt.Errorf("--header: %s is not to be set", name)
		}
		a.header.Add(name, value)
	}
	return nil
}

func (a *Asking) readAdmin(text string) error {
	a.askAdmin = text != noAdmin
	switch {
	case !a.askAdmin:
	case text != "":
		u, err := parseAddress(text)
		if err != nil {
			return fmt.Errorf("--old-admin %w", err)
		}
		a.oldAdmin = u
	default:
		for _, u := range []*url.URL{a.old, a.oldHTTPS} {
			if u != nil && a.oldAdmin == nil {
				a.oldAdmin, a.adminGuessed = &url.URL{Scheme: "http", Host: net.JoinHostPort(u.Hostname(), adminPort)}, true
			}
		}
		a.askAdmin = a.oldAdmin != nil
	}
	return nil
}

// parseAddress reads where a side answers. The error does not repeat the text, which may
// hold a password.
func parseAddress(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("is not a URL such as http://lb.example.com:80")
	case u.User != nil:
		return nil, errors.New("has a user: give credentials by --header")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("has a path or a query: give the address alone, and paths by --path")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return &url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(u.Hostname(), port)}, nil
}
