package marathon

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"relay/internal/files"
	"relay/internal/secret"
)

// login gives the credentials that are sent to Marathon. It never shows a secret: not in
// its errors, and not when it is printed.
type login interface {
	// authorization returns the value of the Authorization header. refused is the value
	// that Marathon has just refused, or empty. A login that can get another value does
	// so then; any other returns the same one again.
	authorization(ctx context.Context, refused string) (string, error)
}

// basicLogin is the userinfo of a URL.
type basicLogin struct {
	user     string
	password secret.String
}

func (b basicLogin) authorization(context.Context, string) (string, error) {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(b.user+":"+string(b.password))), nil
}

// String hides the password.
func (b basicLogin) String() string { return "user " + b.user }

// GoString hides the password from %#v.
func (b basicLogin) GoString() string { return b.String() }

// passwordFile is a user whose password is in a file. Like every file of
// a login it is read for each request, so that it may be replaced at any time.
type passwordFile struct{ user, file string }

func (p passwordFile) authorization(ctx context.Context, refused string) (string, error) {
	password, err := files.Secret(p.file)
	if err != nil {
		return "", fmt.Errorf("password of Marathon user %s: %w", clip(p.user), err)
	}
	return basicLogin{p.user, password}.authorization(ctx, refused)
}

// tokenFile holds a token of DC/OS.
type tokenFile string

func (f tokenFile) authorization(context.Context, string) (string, error) {
	token, err := files.Secret(string(f))
	if err != nil {
		return "", fmt.Errorf("token for Marathon: %w", err)
	}
	return tokenHeader(token), nil
}

// tokenHeader gives a token in the form that DC/OS documents: "Authorization: token=<token>".
func tokenHeader(token secret.String) string {
	return "token=" + strings.TrimPrefix(string(token), "token=")
}

// newLogin returns the one way to log in that is configured, or nil.
func newLogin(cfg Config) (login, error) {
	var all []login
	if cfg.User != "" || cfg.PasswordFile != "" {
		if cfg.User == "" || cfg.PasswordFile == "" {
			return nil, errors.New("marathon: a user needs a password file, and a password file a user")
		}
		if strings.Contains(cfg.User, ":") {
			return nil, errors.New("marathon: a user with a colon in the name cannot log in by basic authentication")
		}
		all = append(all, passwordFile{cfg.User, cfg.PasswordFile})
	}
	if cfg.TokenFile != "" {
		all = append(all, tokenFile(cfg.TokenFile))
	}
	if cfg.ServiceAccountFile != "" {
		account, err := readServiceAccount(cfg.ServiceAccountFile)
		if err != nil {
			return nil, fmt.Errorf("marathon: service account: %w", err)
		}
		all = append(all, account)
	}
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		// A mistake is told at the start, in place of at every attempt.
		if _, isAccount := all[0].(*serviceAccount); !isAccount {
			if _, err := all[0].authorization(context.Background(), ""); err != nil {
				return nil, fmt.Errorf("marathon: %w", err)
			}
		}
		return all[0], nil
	}
	return nil, errors.New("marathon: more than one way to log in: give a user with a password file, a token file or a service account file")
}
