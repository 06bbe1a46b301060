package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Settings are one provider, as CDSA_OIDC_PROVIDERS has it; docs/identity.md tells what each field is for.
type Settings struct {
	Name         string            `json:"name"`
	Issuer       string            `json:"issuer"`
	ClientID     string            `json:"clientId"`
	ClientSecret string            `json:"clientSecret"` // empty: a public client
	Scopes       []string          `json:"scopes"`
	RolesClaim   string            `json:"rolesClaim"`
	Roles        map[string]string `json:"roles"` // value of the claim to name of a role
	SignUp       bool              `json:"signUp"`
	DefaultRoles []string          `json:"defaultRoles"` // nil: the role of registration; empty: none
}

const (
	maxProviders = 20
	maxRoles     = 50
	maxText      = 500 // bytes of any single value
)

var (
	nameForm  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	scopeForm = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]{1,100}$`) // RFC 6749 section 3.3
	textForm  = regexp.MustCompile(`^[\x21-\x7e]+$`)
	vschar    = regexp.MustCompile(`^[\x20-\x7e]*$`) // RFC 6749 appendix A.2
)

// Parse reads the JSON list of CDSA_OIDC_PROVIDERS; empty text is no provider. It is strict: a field that there is not
// is an error, and so is whatever could not work later. Its errors name an entry by its position and never quote the
// value, which holds secrets. plainHTTP lets an issuer on this machine be http.
func Parse(text string, plainHTTP bool) ([]Settings, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var entries []json.RawMessage
	if strict([]byte(text), &entries) != nil {
		return nil, errors.New("is not a JSON list")
	}
	if len(entries) > maxProviders {
		return nil, fmt.Errorf("has more than %d entries", maxProviders)
	}
	list := make([]Settings, len(entries))
	names, issuers := map[string]bool{}, map[string]bool{}
	for i, raw := range entries {
		s := &list[i]
		if strict(raw, s) != nil {
			return nil, fmt.Errorf("entry %d is not an object of the fields that docs/identity.md lists", i+1)
		}
		if s.Scopes == nil {
			s.Scopes = []string{"openid", "email", "profile"}
		}
		if err := s.check(plainHTTP); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		if names[s.Name] || issuers[s.Issuer] {
			return nil, fmt.Errorf("entry %d: its name or its issuer is that of an earlier entry", i+1)
		}
		names[s.Name], issuers[s.Issuer] = true, true
	}
	return list, nil
}

// strict decodes one value, refusing unknown fields and anything behind it.
func strict(text []byte, into any) error {
	if bytes.Equal(bytes.TrimSpace(text), []byte("null")) {
		return errors.New("null")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows")
	}
	return nil
}

func (s *Settings) check(plainHTTP bool) error {
	switch {
	case !nameForm.MatchString(s.Name):
		return errors.New("name is not 1 to 40 letters a to z, digits and hyphens")
	case !secureURL(s.Issuer, plainHTTP) || strings.ContainsAny(s.Issuer, "?#"):
		return errors.New("issuer is not an https:// URL without query and fragment (http:// is for a developer's own machine)")
	case !textForm.MatchString(s.ClientID) || len(s.ClientID) > maxText:
		return errors.New("clientId is missing, too long or holds what is not printable ASCII")
	case !vschar.MatchString(s.ClientSecret) || len(s.ClientSecret) > maxText:
		return errors.New("clientSecret is too long or holds what is not printable ASCII")
	case !slices.Contains(s.Scopes, "openid") || len(s.Scopes) > maxRoles:
		return errors.New("scopes lacks openid or is too long")
	case slices.ContainsFunc(s.Scopes, func(v string) bool { return !scopeForm.MatchString(v) }):
		return errors.New("scopes holds what is not a scope")
	case (s.RolesClaim == "") != (len(s.Roles) == 0):
		return errors.New("rolesClaim and roles belong together")
	case len(s.RolesClaim) > maxText:
		return errors.New("rolesClaim is too long")
	case len(s.Roles) > maxRoles || len(s.DefaultRoles) > maxRoles:
		return fmt.Errorf("roles or defaultRoles has more than %d items", maxRoles)
	}
	named := slices.Concat(slices.Collect(maps.Keys(s.Roles)), slices.Collect(maps.Values(s.Roles)), s.DefaultRoles)
	if slices.ContainsFunc(named, func(v string) bool { return strings.TrimSpace(v) == "" || len(v) > maxText }) {
		return errors.New("roles or defaultRoles holds an empty or overlong text")
	}
	if len(s.DefaultRoles) > 0 && !s.SignUp {
		return errors.New("defaultRoles is only used with signUp")
	}
	return nil
}

// secureURL says whether s is https, or http on this machine where that is allowed.
func secureURL(s string, plainHTTP bool) bool {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxText || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && plainHTTP && loopback(u.Hostname())
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
