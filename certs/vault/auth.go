package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"relay/internal/secret"
)

const (
	// expiryWarning is how long before its end a token that cannot be renewed
	// is reported.
	expiryWarning = 7 * 24 * time.Hour
	// minRenewal keeps tokens that live for seconds from being renewed all the
	// time.
	minRenewal = time.Second
	// loginGap is the time between two logins while the token is alive but has
	// not the right: a role may have got another policy, which only new tokens
	// have, but each login leaves a token behind in Vault.
	loginGap = 5 * time.Minute
)

// auth gets a token and keeps it alive. It belongs to the reader's goroutine.
type auth struct {
	config Config
	api    *api.Client
	logger *slog.Logger

	// credential is what the latest login was tried with, to be kept out of
	// messages; loggedIn is when one succeeded.
	credential secret.String
	loggedIn   time.Time

	// known is true when the token's life was looked up; expires and renewAt
	// are zero when it has no end.
	known            bool
	ttl              time.Duration
	expires, renewAt time.Time
	renewable        bool
}

// ensure has a token ready: it logs in, or reads the token file again.
func (a *auth) ensure(ctx context.Context) error {
	switch {
	case a.config.logsIn():
		if a.api.Token() == "" {
			return a.login(ctx)
		}
		return nil
	case a.config.TokenFile != "":
		if _, err := a.readFile(); err != nil && a.api.Token() == "" {
			return err
		}
	case a.api.Token() == "":
		a.api.SetToken(string(a.config.Token))
	}
	if !a.known {
		a.lookUp(ctx)
	}
	return nil
}

// recover gets another token after the present one was refused, and says
// whether there is one.
func (a *auth) recover(ctx context.Context) (bool, error) {
	switch {
	case a.config.logsIn():
		if time.Since(a.loggedIn) < loginGap && a.alive(ctx) {
			return false, nil
		}
		return true, a.login(ctx)
	case a.config.TokenFile != "":
		return a.readFile()
	}
	return false, nil
}

// alive asks Vault whether it still knows the token.
func (a *auth) alive(ctx context.Context) bool {
	_, err := a.api.Auth().Token().LookupSelfWithContext(ctx)
	return err == nil
}

// readFile takes the token of the file, and says whether it is a new one.
func (a *auth) readFile() (bool, error) {
	token, err := readCredential("token (--vault-token-file)", a.config.TokenFile)
	if err != nil {
		return false, err
	}
	if string(token) == a.api.Token() {
		return false, nil
	}
	a.api.SetToken(string(token))
	a.known = false
	return true, nil
}

// lookUp learns how long the token lives. A policy may forbid it; then the
// token is used until Vault refuses it.
func (a *auth) lookUp(ctx context.Context) {
	got, err := a.api.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		a.logger.Debug("the token's life is not known", "event", "vault_token_unknown", "error", a.redact(err))
		// Vault's own answer will not change; a failed request is repeated.
		var answered *api.ResponseError
		a.known = errors.As(err, &answered)
		a.expires, a.renewAt = time.Time{}, time.Time{}
		return
	}
	ttl, ttlErr := got.TokenTTL()
	renewable, renewableErr := got.TokenIsRenewable()
	if ttlErr == nil && renewableErr == nil {
		a.plan(ttl, renewable)
	}
}

// plan notes the token's life and when to renew it: after two thirds of it, a
// little earlier by chance, so that replicas do not ask at once.
func (a *auth) plan(ttl time.Duration, renewable bool) {
	a.known, a.ttl, a.renewable = true, ttl, renewable
	a.expires, a.renewAt = time.Time{}, time.Time{}
	if ttl <= 0 {
		return
	}
	a.expires = time.Now().Add(ttl)
	if renewable || a.config.logsIn() {
		wait := time.Duration(float64(ttl) * 2 / 3 * (0.9 + 0.1*rand.Float64()))
		a.renewAt = time.Now().Add(max(wait, minRenewal))
	}
}

// renewInTime renews the token if it is time to.
func (a *auth) renewInTime(ctx context.Context) {
	if !a.renewAt.IsZero() && !time.Now().Before(a.renewAt) {
		a.renew(ctx)
	}
}

// renew prolongs the token. What it cannot prolong any further, by failure or
// because Vault's maximum is near, it replaces by a new login.
func (a *auth) renew(ctx context.Context) {
	before := a.ttl
	if a.renewable {
		got, err := a.api.Auth().Token().RenewSelfWithContext(ctx, 0)
		if err == nil && got.Auth != nil {
			a.plan(time.Duration(got.Auth.LeaseDuration)*time.Second, got.Auth.Renewable)
			if a.expires.IsZero() || a.ttl >= before/2 {
				a.ttl = max(a.ttl, before)
				return
			}
			// The maximum life is near; a static token is reported by problem.
			a.ttl = before
		} else if err != nil {
			a.logger.Warn("the Vault token could not be renewed", "event", "vault_token_not_renewed", "error", a.redact(err))
		}
	}
	if a.config.logsIn() {
		if err := a.login(ctx); err == nil {
			return
		} else {
			a.logger.Warn("no new Vault token", "event", "vault_login_failed", "error", err)
		}
	}
	left := time.Until(a.expires)
	if left <= 0 {
		// Vault refuses it from now on, and that starts a new login.
		a.renewAt = time.Time{}
		return
	}
	a.renewAt = time.Now().Add(max(left/2, minRenewal))
}

// problem warns of a token that will end. Vault Agent replaces the one in a
// file, and a role logs in again.
func (a *auth) problem(now time.Time) string {
	static := !a.config.logsIn() && a.config.TokenFile == ""
	if !static || a.expires.IsZero() || a.expires.Sub(now) > expiryWarning {
		return ""
	}
	if a.renewable && a.expires.Sub(now) > a.ttl/4 {
		return ""
	}
	return fmt.Sprintf("the Vault token expires at %s and cannot be renewed beyond: replace it, or use a token file or a login",
		a.expires.UTC().Format(time.RFC3339))
}

// redact is an error's text without the secrets known here, on one line, and
// of bounded length: Vault's answers are not ours to trust.
func (a *auth) redact(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for _, hidden := range []string{a.api.Token(), string(a.config.Token), string(a.credential)} {
		if hidden != "" {
			text = strings.ReplaceAll(text, hidden, secret.Redacted)
		}
	}
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "…"
	}
	return text
}
