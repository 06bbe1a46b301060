package app

import (
	"context"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"cdsa.dev/cdsa/graph"
	"cdsa.dev/cdsa/internal/access"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/gqlhttp"
	"cdsa.dev/cdsa/internal/httpx"
	"cdsa.dev/cdsa/internal/read"
	"cdsa.dev/cdsa/internal/realtime/transport"
	"cdsa.dev/cdsa/web"
)

func (a *App) openHTTP(version string) error {
	l, s := a.cfg.Limits, a.cfg.Server
	a.streams = transport.New(transport.Config{
		Hub: a.hub, Init: a.initSocket, Standing: a.accounts.Standing, Budgets: a.limits, Origins: s.AllowedOrigins, Log: a.log, InitTimeout: l.InitTimeout, Heartbeat: l.Heartbeat,
		KeepAlive: l.SSEKeepAlive, MaxOperations: l.SocketOps, MaxMessage: int64(l.Message), MaxBody: int64(l.Body),
	})
	settings := gqlhttp.DefaultSettings()
	settings.MaxBody, settings.MaxUpload, settings.AllowedOrigins, settings.Logger = int64(l.Body), int64(l.Upload), s.AllowedOrigins, a.log
	settings.MaxDepth, settings.MaxAliases, settings.MaxTokens, settings.MaxCost = l.Depth, l.Aliases, l.Tokens, l.Complexity
	settings.MaxOperations, settings.MaxMutations, settings.MaxErrors = l.Operations, l.Mutations, l.Errors
	settings.Budgets, settings.MaxAnswer = a.limits, int(l.Answer)
	api := graph.NewHandler(&graph.Resolver{
		Client: a.client, Audit: a.audit, Accounts: a.accounts, OIDC: a.oidc, Chats: a.chats, Executions: a.executions, Approvals: a.approvals, Documents: a.documents,
		Models: a.models, Cursors: a.cursors, Position: a.hub.Position, Dispatch: a.dispatch, Reads: read.New(a.pool, a.client),
		Access: &access.Simulator{Pool: a.pool, Audit: a.audit, Load: a.accounts.SignedPrincipal},
		Info:   graph.Info{Version: version, Registration: string(a.cfg.Identity.Registration)},
	}, settings, a.streams)
	var err error
	a.handler, err = httpx.New(httpx.Config{
		Logger: a.log, Authenticate: a.authn.Authenticate, API: map[string]http.Handler{"/graphql": api}, Public: map[string]http.Handler{"/": web.Handler(), "/.well-known/jwks.json": http.HandlerFunc(a.tokens.ServeJWKS)},
		Checks: []httpx.Check{
			{Name: "postgres", Run: a.pool.Ping},
			{Name: "events", Run: func(context.Context) error { return a.bus.Healthy() }},
		},
		Collectors:     []prometheus.Collector{a.dispatch.Collector()},
		TrustedProxies: s.TrustedProxies, AllowedOrigins: s.AllowedOrigins, MetricsToken: a.cfg.Log.MetricsToken.Reveal(), PProf: a.cfg.Log.PProf,
		MaxBody: int64(l.Upload) + 1<<20, BodyTimeout: l.BodyTimeout,
	})
	return err
}

// initSocket judges connection_init: the same principal as over HTTP.
func (a *App) initSocket(ctx context.Context, payload map[string]any) (context.Context, *authz.Principal, error) {
	value, present, err := authorization(payload)
	if err != nil {
		return ctx, nil, err
	}
	token, err := auth.ParseBearer(value, present)
	if err != nil {
		return ctx, nil, err
	}
	p, err := a.authn.Authenticate(ctx, token)
	if err != nil {
		return ctx, nil, err
	}
	if p != nil {
		ctx = authz.With(ctx, p)
	}
	return ctx, p, nil
}

// authorization finds the token where clients put it: as Authorization, in any spelling of case, of the payload or of
// its headers. Two of them are as good as a wrong one.
func authorization(payload map[string]any) (value string, present bool, err error) {
	headers, _ := payload["headers"].(map[string]any)
	for _, from := range []map[string]any{payload, headers} {
		for k, v := range from {
			if !strings.EqualFold(k, "Authorization") || v == nil {
				continue
			}
			s, ok := v.(string)
			if !ok || present {
				return "", false, errs.New(errs.Unauthenticated, "connection_init must have one Authorization, a text: Bearer and the access token.")
			}
			value, present = s, true
		}
	}
	return value, present, nil
}
