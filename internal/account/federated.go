package account

import (
	"context"

	"cdsa.dev/cdsa/internal/errs"
)

// ExchangeInput is what a client got from a provider's authorization endpoint.
type ExchangeInput struct{ Provider, Code, Verifier, RedirectURI, Nonce string }

// ExchangeOIDCCode is to come.
func (s *Service) ExchangeOIDCCode(context.Context, ExchangeInput) (Signed, error) {
	return Signed{}, errs.New(errs.FailedPrecondition, "To come.")
}
