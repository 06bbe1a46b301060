package oidc

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Identity is who somebody is at a provider.
type Identity struct {
	Issuer, Subject string
	Email           string   // as the provider has it; empty: none
	EmailVerified   bool     // by the provider
	Username, Name  string   // preferred_username and name; only suggestions
	Roles           []string // names of roles that the claims map to, sorted
}

// maxValues bounds what is looked at of a roles claim.
const maxValues = 1000

// identity reads the claims. What the ID token lacks is asked of userinfo, as many providers give a name and roles
// only there.
func (p *Provider) identity(ctx context.Context, d *discovered, id *gooidc.IDToken, token *oauth2.Token) (Identity, error) {
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return Identity{}, &Refused{Reason: ReasonIDToken, cause: errors.New("its claims cannot be read")}
	}
	_, hasEmail := claims["email"]
	_, hasRoles := lookup(claims, p.set.RolesClaim)
	if d.hasUserInfo && (!hasEmail || p.set.RolesClaim != "" && !hasRoles) {
		more, err := p.userInfo(ctx, d, id.Subject, token)
		if err != nil {
			return Identity{}, err
		}
		if hasEmail { // an address and whether it is verified come from one source
			delete(more, "email")
			delete(more, "email_verified")
		} else {
			delete(claims, "email_verified")
		}
		maps.Copy(more, claims)
		claims = more
	}
	out := Identity{Issuer: p.set.Issuer, Subject: id.Subject, Email: text(claims["email"]), Username: text(claims["preferred_username"]), Name: text(claims["name"])}
	out.EmailVerified = claims["email_verified"] == true || claims["email_verified"] == "true" // a text at some providers
	if value, ok := lookup(claims, p.set.RolesClaim); ok {
		for _, v := range values(value) {
			if role, mapped := p.set.Roles[v]; mapped {
				out.Roles = append(out.Roles, role)
			}
		}
	}
	slices.Sort(out.Roles)
	out.Roles = slices.Compact(out.Roles)
	return out, nil
}

func (p *Provider) userInfo(ctx context.Context, d *discovered, subject string, token *oauth2.Token) (map[string]any, error) {
	info, err := d.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, p.unavailable(errors.New("userinfo cannot be had")) // the cause may quote claims
	}
	if info.Subject != subject { // OpenID Connect Core 1.0 section 5.3.2
		return nil, &Refused{Reason: ReasonSubject}
	}
	claims := map[string]any{}
	if err := info.Claims(&claims); err != nil {
		return nil, p.unavailable(errors.New("userinfo is not an object"))
	}
	return claims, nil
}

// lookup follows a dotted path. Names may hold dots themselves, as https://example.org/roles does: a whole name goes
// before a path.
func lookup(claims map[string]any, path string) (any, bool) {
	if path == "" {
		return nil, false
	}
	if v, ok := claims[path]; ok {
		return v, true
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		if inner, ok := claims[path[:i]].(map[string]any); ok {
			if v, found := lookup(inner, path[i+1:]); found {
				return v, true
			}
		}
	}
	return nil, false
}

// values reads a claim of roles: a text, a list of texts, or an object whose keys they are.
func values(v any) []string {
	var out []string
	switch v := v.(type) {
	case string:
		out = []string{v}
	case []any:
		for _, x := range v[:min(len(v), maxValues)] {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
	case map[string]any:
		out = slices.Sorted(maps.Keys(v))
		out = out[:min(len(out), maxValues)]
	}
	return out
}

// text gives a claim that is a text of sensible length.
func text(v any) string {
	s, _ := v.(string)
	if len(s) > maxText {
		return ""
	}
	return strings.TrimSpace(s)
}
