package explain

import (
	"fmt"
	"strings"

	"relay/sources"
)

// oidcWords says how people log in. Queries of URLs are left out: they may have something secret.
func oidcWords(o *sources.OIDC) (words []string) {
	if o == nil {
		return nil
	}
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	say("people log in at %s as the client %s asks for it, with %s; codes are changed for tokens at %s, by the credential %s",
		withoutQuery(o.AuthorizationEndpoint), o.ClientID, strings.Join(o.Scopes, ", "), withoutQuery(o.TokenEndpoint), o.ClientSecret)
	say("they come back by %s, and %s ends their session", o.CallbackPath, o.SignOutPath)
	if o.EndSessionEndpoint != "" {
		say("who signs out is sent to %s", withoutQuery(o.EndSessionEndpoint))
	}
	if o.SecretInBody {
		say("the secret of the client is sent in the body of requests for tokens")
	}
	if o.ForwardToken {
		say("the app gets the access token")
	}
	return words
}

func withoutQuery(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return url
}
