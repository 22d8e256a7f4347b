package marathon

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"relay/internal/files"
	"relay/internal/secret"
)

const (
	tokenLife    = time.Hour        // asked for
	loginLife    = 5 * time.Minute  // of the token that proves the key, which travels once
	renewBefore  = 5 * time.Minute  // the end of a token, or a fifth of its life if that is less
	loginTimeout = 30 * time.Second // for one attempt
	loginCookie  = "dcos-acs-auth-cookie"
)

// serviceAccount logs in to DC/OS with the key of a service account, and keeps the token
// that it gets.
type serviceAccount struct {
	uid      string
	endpoint *url.URL
	signer   jose.Signer
	http     *http.Client // set by newClient

	turn  chan struct{} // holds one while someone logs in or looks
	token secret.String
	renew time.Time // from when on another token is fetched
}

// readServiceAccount reads the JSON in which DC/OS keeps a service account's
// secret: {"uid", "private_key" (PEM), "login_endpoint", "scheme": "RS256"}.
func readServiceAccount(file string) (*serviceAccount, error) {
	data, err := files.Read(file, files.MaxSecret)
	if err != nil {
		return nil, err
	}
	var account struct {
		UID           string `json:"uid"`
		PrivateKey    string `json:"private_key"`
		LoginEndpoint string `json:"login_endpoint"`
		Scheme        string `json:"scheme"`
	}
	if json.Unmarshal(data, &account) != nil { // whose error may quote the key
		return nil, fmt.Errorf("%s is not JSON with uid, private_key and login_endpoint", file)
	}
	if account.Scheme != "" && account.Scheme != "RS256" {
		return nil, fmt.Errorf("%s: scheme %q: only RS256 is known", file, clip(account.Scheme))
	}
	endpoint, err := url.Parse(account.LoginEndpoint)
	if err != nil || (endpoint.Scheme != "https" && endpoint.Scheme != "http") || endpoint.Host == "" || endpoint.User != nil {
		return nil, fmt.Errorf("%s: login_endpoint is not an http or https URL without userinfo", file)
	}
	key, err := parseKey(account.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("%s: private_key: %w", file, err)
	}
	if account.UID == "" {
		return nil, fmt.Errorf("%s has no uid", file)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("%s: private_key cannot sign: %w", file, err)
	}
	return &serviceAccount{uid: account.UID, endpoint: endpoint, signer: signer, turn: make(chan struct{}, 1)}, nil
}

// parseKey reads an RSA key in PKCS #8 or PKCS #1. Its errors do not repeat any of it.
func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("is not PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("is not a private key in PKCS #8 or PKCS #1")
	}
	key, ok := any.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("is not an RSA key")
	}
	return key, nil
}

// String hides the token.
func (s *serviceAccount) String() string { return "service account " + s.uid }

// GoString hides the token and the key from %#v.
func (s *serviceAccount) GoString() string { return s.String() }

// authorization implements login. It returns the token it has, unless that ends soon or
// was refused: then it logs in again.
func (s *serviceAccount) authorization(ctx context.Context, refused string) (string, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if s.token != "" && tokenHeader(s.token) != refused && time.Now().Before(s.renew) {
		return tokenHeader(s.token), nil
	}
	now := time.Now()
	token, err := s.login(ctx, now)
	if err != nil {
		return "", fmt.Errorf("log in as service account %s: %w", clip(s.uid), err)
	}
	life := tokenLife
	if end, ok := tokenEnd(token); ok {
		life = min(life, end.Sub(now))
	}
	s.token, s.renew = token, now.Add(life-min(renewBefore, life/5))
	return tokenHeader(token), nil
}

// login sends a token that is signed by the key, and gets another one for Marathon.
func (s *serviceAccount) login(ctx context.Context, now time.Time) (secret.String, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	proof, err := jwt.Signed(s.signer).Claims(map[string]any{"uid": s.uid, "exp": now.Add(loginLife).Unix()}).Serialize()
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]any{"uid": s.uid, "token": proof, "exp": now.Add(tokenLife).Unix()})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return "", fmt.Errorf("%s: %w", s.endpoint.Host, withCure(s.http, s.endpoint, failed.Err))
	}
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", &statusError{code: resp.StatusCode, url: s.endpoint.Redacted()}
	}
	return tokenOf(resp)
}

// tokenOf finds the token of a login: in the cookie, or in the body as
// {"token"}.
func tokenOf(resp *http.Response) (secret.String, error) {
	for _, cookie := range resp.Cookies() {
		if cookie.Name == loginCookie && cookie.Value != "" {
			return secret.String(cookie.Value), nil
		}
	}
	var answer struct {
		Token string `json:"token"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer) != nil || answer.Token == "" {
		return "", errors.New("the answer has no token: is login_endpoint that of DC/OS?")
	}
	return secret.String(answer.Token), nil
}

// tokenEnd reads when a token ends. The token is not verified, which only its issuer can
// do: the time only decides when another one is fetched.
func tokenEnd(token secret.String) (time.Time, bool) {
	parts := strings.Split(string(token), ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Exp < 1 || claims.Exp > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(claims.Exp), 0), true
}
