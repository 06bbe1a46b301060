// Package auth proves who calls. Its pure parts live here: passwords, the account's own names, signed access tokens and
// their keyring, opaque refresh and API tokens, codes of second factors, and the short-lived cache that turns a token
// into an authz.Principal.
//
// It refuses to guess: a credential that is present but wrong is never anonymous, an answer of the store that is
// missing is an error and never a principal, and no error, log line or panic carries a password, a token or an
// e-mail address.
//
// Passwords are argon2id, computed by a Deriver: in this process, or in one apart (hashproc). Access tokens are JWTs
// signed with Ed25519, valid for minutes, and tell only the user and the login session; whether that session still
// stands is asked of a cache that is at most a second old. Refresh tokens and API tokens are random and stored as a
// SHA-256. A second factor is TOTP (RFC 6238), each time step good once; recovery codes are random, and argon2id hashes
// in the store.
//
// Signing keys rotate in two steps, so that no replica meets a token it cannot verify: a new key is accepted a minute
// before it signs, and the old one until its last token has expired (Rotate).
//
// Every type is safe for concurrent use. Errors that a client may see are *errs.Error; the others are faults of the
// server.
package auth
