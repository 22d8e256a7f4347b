package logs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"
)

// Config says where lines go by syslog.
type Config struct {
	// Address is udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH. Nothing is sent if it is empty.
	Address string
	// Facility is one of Facilities.
	Facility string
	// CAFile holds the authorities, in PEM, of the certificate of a collector by TLS; those of the system if it is
	// empty. CertFile and KeyFile are what is shown to it. All are read at each connection.
	CAFile, CertFile, KeyFile string
}

// Validate says what is wrong with it.
func (c Config) Validate() error {
	if c.Address == "" {
		return nil
	}
	target, err := c.target()
	var errs []error
	if err != nil {
		errs = append(errs, fmt.Errorf("--log-syslog %w", err))
	}
	if _, known := Facilities[c.Facility]; !known {
		errs = append(errs, fmt.Errorf("--log-syslog-facility %s is none: use daemon, user, or local0 to local7", c.Facility))
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("--log-syslog-cert and --log-syslog-key need each other"))
	}
	if (c.CAFile != "" || c.CertFile != "") && err == nil && target.kind != "tls" {
		errs = append(errs, errors.New("--log-syslog-ca and --log-syslog-cert are for tls:// only"))
	}
	return errors.Join(errs...)
}

// target is where a connection goes.
type target struct {
	Config
	// kind is the scheme; address is HOST:PORT or a path.
	kind, address string
}

func (c Config) target() (target, error) {
	u, err := url.Parse(c.Address)
	if err != nil {
		return target{}, errors.New("is no URL: write udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///dev/log")
	}
	t := target{c, u.Scheme, u.Host}
	port, _ := strconv.ParseUint(u.Port(), 10, 16)
	plain := u.User == nil && u.RawQuery == "" && u.Fragment == ""
	switch {
	case u.Scheme == "unix" && plain && u.Host == "" && len(u.Path) > 1:
		t.address = u.Path
		return t, nil
	case slices.Contains([]string{"udp", "tcp", "tls"}, u.Scheme) && plain && u.Hostname() != "" && port != 0 && (u.Path == "" || u.Path == "/"):
		return t, nil
	}
	// What was given may have a password.
	return target{}, errors.New("is not udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///dev/log")
}

// datagrams reports whether each message is one of its own; else it is framed by its length.
func (t target) datagrams() bool { return t.kind == "udp" || t.kind == "unix" }

// frame is a message as it is sent: RFC 5425 and RFC 6587 have its length before it on a stream.
func (t target) frame(message string) []byte {
	if t.datagrams() {
		return []byte(message)
	}
	return []byte(strconv.Itoa(len(message)) + " " + message)
}

// dial connects.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	switch t.kind {
	case "unix":
		return dialer.DialContext(ctx, "unixgram", t.address)
	case "tls":
		config, err := t.tlsConfig()
		if err != nil {
			return nil, err
		}
		return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", t.address)
	}
	return dialer.DialContext(ctx, t.kind, t.address)
}

func (t target) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, err
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate in PEM", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
