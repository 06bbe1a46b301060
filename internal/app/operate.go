package app

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/config"
	"cdsa.dev/cdsa/internal/httpx"
)

// operator is who acts at the command line: someone with the database at hand. It holds what creating users needs.
var operator = func() *authz.Principal {
	perms := []string{"system:register"}
	for _, p := range authz.Permissions {
		perms = append(perms, p.Name())
	}
	return authz.NewSystem("system:operator", perms...)
}()

// CreateUser opens an account as the operator.
func (a *App) CreateUser(ctx context.Context, in account.CreateUserInput) (uuid.UUID, error) {
	u, err := a.accounts.CreateUser(authz.With(ctx, operator), in)
	if err != nil {
		return uuid.Nil, err
	}
	return u.ID, nil
}

// WithOwner runs fn with the URL of the schema's owner, on a database started if it is the private one, without
// migrating it.
func WithOwner(ctx context.Context, cfg *config.Config, log *slog.Logger, fn func(url string) error) error {
	a := &App{cfg: cfg, log: log}
	if err := a.findDatabase(ctx); err != nil {
		return err
	}
	return errors.Join(fn(a.urls.owner), a.Close(context.WithoutCancel(ctx)))
}

// NewLogger makes the server's logger, which adds the request's and the caller's ids to every line.
func NewLogger(cfg *config.Config, w io.Writer) *slog.Logger {
	opt := &slog.HandlerOptions{Level: cfg.Log.Level}
	var h slog.Handler = slog.NewTextHandler(w, opt)
	if cfg.Log.Format == "json" {
		h = slog.NewJSONHandler(w, opt)
	}
	return slog.New(httpx.NewLogHandler(h))
}
