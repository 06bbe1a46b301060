package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
)

const (
	accessTokenType = "at+jwt" // RFC 9068 section 2.1: no other token of the same key passes for an access token
	maxAccessToken  = 2048     // bytes; ours are some 500
	maxLeeway       = 5 * time.Second
	maxTokenTTL     = time.Hour // however it is configured; a key that is retired is accepted for longer
)

// TokenConfig sets what access tokens say. Zero values take the defaults.
type TokenConfig struct {
	Issuer   string        // default "cdsa"
	Audience string        // default "cdsa-api"
	TTL      time.Duration // default 15 minutes, at most 1 hour
	// Leeway is how far ahead another replica's clock may be, 0 to 5 s, default 5 s: a token is dated back by it.
	// There is none at the end: a token that expired a moment ago is expired.
	Leeway    time.Duration
	CacheSize int // verified tokens remembered, default 10,000 (about 4 MB when full)
}

// Claims is what a verified access token says.
type Claims struct {
	UserID    uuid.UUID
	SessionID uuid.UUID
	ID        string // jti; the session row holds HashTokenID of the newest
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Tokens issues and verifies access tokens. Its keyring can be replaced while it is used.
type Tokens struct {
	cfg    TokenConfig
	parser *jwt.Parser
	state  atomic.Pointer[tokenState]
}

// tokenState is a keyring with the tokens that were verified by it: none of them outlives it.
type tokenState struct {
	keys  *Keyring
	cache *tokenCache[Claims]
}

// NewTokens makes the issuer and verifier of a keyring.
func NewTokens(keys *Keyring, c TokenConfig) (*Tokens, error) {
	c.Issuer, c.Audience = or(c.Issuer, "cdsa"), or(c.Audience, "cdsa-api")
	c.TTL, c.Leeway, c.CacheSize = or(c.TTL, 15*time.Minute), or(c.Leeway, maxLeeway), or(c.CacheSize, 10_000)
	if c.TTL < time.Second || c.TTL > maxTokenTTL || c.Leeway < 0 || c.Leeway > maxLeeway {
		return nil, fmt.Errorf("access tokens: lifetime %v or leeway %v out of bounds", c.TTL, c.Leeway)
	}
	t := &Tokens{
		cfg: c,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
			jwt.WithIssuer(c.Issuer), jwt.WithAudience(c.Audience),
			jwt.WithExpirationRequired(), jwt.WithNotBeforeRequired(),
			jwt.WithStrictDecoding(), jwt.WithTimeFunc(time.Now),
		),
	}
	return t, t.SetKeyring(keys)
}

// SetKeyring replaces the keys. Tokens of a key that is gone are refused from now on, remembered or not. A keyring
// without a key that may sign is refused, and the present one stays.
func (t *Tokens) SetKeyring(keys *Keyring) error {
	if keys == nil || keys.signer(time.Now()) == nil {
		return errors.New("access tokens need a signing key")
	}
	t.state.Store(&tokenState{keys: keys, cache: newTokenCache[Claims](t.cfg.CacheSize)})
	return nil
}

// Keyring gives the present keys.
func (t *Tokens) Keyring() *Keyring { return t.state.Load().keys }

type wireClaims struct {
	SessionID string `json:"sid"`
	jwt.RegisteredClaims
}

// Issue signs an access token of the login session. jti is its id, of which the session row keeps HashTokenID.
func (t *Tokens) Issue(userID, sessionID uuid.UUID, now time.Time) (token, jti string, exp time.Time, err error) {
	if uid.Check(userID, uid.User, "userId") != nil || uid.Check(sessionID, uid.Session, "sessionId") != nil {
		return "", "", time.Time{}, errors.New("an access token needs the ids of a user and of a login session")
	}
	now = now.UTC().Truncate(time.Second)
	exp, jti = now.Add(t.cfg.TTL), rand.Text()
	tok := jwt.NewWithClaims(jwt.SigningMethodEdDSA, wireClaims{
		SessionID: sessionID.String(),
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: t.cfg.Issuer, Audience: jwt.ClaimStrings{t.cfg.Audience}, Subject: userID.String(), ID: jti,
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(exp),
			NotBefore: jwt.NewNumericDate(now.Add(-t.cfg.Leeway)),
		},
	})
	signer := t.state.Load().keys.signer(now)
	if signer == nil {
		return "", "", time.Time{}, errors.New("no key of the keyring may sign access tokens any more")
	}
	tok.Header["kid"], tok.Header["typ"] = signer.id, accessTokenType
	token, err = tok.SignedString(signer.private)
	if err != nil {
		return "", "", time.Time{}, fmt.Errorf("sign an access token: %w", err)
	}
	return token, jti, exp, nil
}

// Verify gives what a genuine, unexpired access token of this server says. Whether its session still stands is
// PrincipalCache's to tell. UNAUTHENTICATED otherwise, with one sentence for every reason; the reason is the cause.
func (t *Tokens) Verify(token string) (Claims, error) {
	if len(token) > maxAccessToken || strings.Count(token, ".") != 2 {
		return Claims{}, refused("not a signed token")
	}
	now, st, key := time.Now(), t.state.Load(), sumOf(token)
	if c, ok := st.cache.load(key); ok {
		if !now.Before(c.ExpiresAt) {
			return Claims{}, refused("expired")
		}
		return c, nil
	}
	c, err := t.verify(st, token, now)
	if err != nil {
		return Claims{}, err
	}
	st.cache.store(key, c)
	return c, nil
}

func (t *Tokens) verify(st *tokenState, token string, now time.Time) (Claims, error) {
	if !strictlyWritten(token) {
		return Claims{}, refused("malformed")
	}
	var w wireClaims
	var key *ringKey
	_, err := t.parser.ParseWithClaims(token, &w, func(tok *jwt.Token) (any, error) {
		var err error
		if key, err = st.keyOf(tok, now); err != nil {
			return nil, err
		}
		return key.public, nil
	})
	if err != nil {
		return Claims{}, refused(reason(err))
	}
	user, err1 := uuid.Parse(w.Subject)
	session, err2 := uuid.Parse(w.SessionID)
	if err1 != nil || err2 != nil || uid.Check(user, uid.User, "") != nil || uid.Check(session, uid.Session, "") != nil {
		return Claims{}, refused("wrong subject or session")
	}
	if w.ID == "" || w.IssuedAt == nil {
		return Claims{}, refused("claims missing")
	}
	c := Claims{UserID: user, SessionID: session, ID: w.ID, IssuedAt: w.IssuedAt.UTC(), ExpiresAt: w.ExpiresAt.UTC()}
	if life := c.ExpiresAt.Sub(c.IssuedAt); life <= 0 || life > maxTokenTTL {
		return Claims{}, refused("lifetime")
	}
	if !key.notAfter.IsZero() && key.notAfter.Before(c.ExpiresAt) {
		c.ExpiresAt = key.notAfter.UTC()
	}
	return c, nil
}

// keyOf runs after the method was compared with EdDSA and before the signature is looked at.
func (st *tokenState) keyOf(tok *jwt.Token, now time.Time) (*ringKey, error) {
	if typ, ok := tok.Header["typ"].(string); !ok || typ != accessTokenType {
		return nil, errWrongType
	}
	kid, ok := tok.Header["kid"].(string)
	if !ok {
		return nil, errUnknownKey
	}
	key := st.keys.accepted(kid, now)
	if key == nil {
		return nil, errUnknownKey
	}
	return key, nil
}

var (
	errWrongType  = errors.New("not an access token")
	errUnknownKey = errors.New("unknown key")
)

// reason names the failure in fixed words: the library's errors quote parts of the token.
func reason(err error) string {
	for _, r := range []struct {
		is   error
		word string
	}{
		{errWrongType, "not an access token"}, {errUnknownKey, "unknown key"},
		{jwt.ErrTokenMalformed, "malformed"}, {jwt.ErrTokenSignatureInvalid, "signature"},
		{jwt.ErrTokenExpired, "expired"}, {jwt.ErrTokenNotValidYet, "not valid yet"},
		{jwt.ErrTokenInvalidIssuer, "issuer"}, {jwt.ErrTokenInvalidAudience, "audience"},
		{jwt.ErrTokenRequiredClaimMissing, "claims missing"},
	} {
		if errors.Is(err, r.is) {
			return r.word
		}
	}
	return "invalid"
}

func refused(why string) error {
	return errs.Wrap(errors.New("access token refused: "+why), errs.Unauthenticated,
		"The access token is not valid or has expired. Refresh the session or sign in again.")
}
