package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/alecthomas/kong"

	"cdsa.dev/cdsa/internal/app"
	"cdsa.dev/cdsa/internal/config"
)

// version is set by the linker.
var version = "dev"

type cli struct {
	Serve   serveCmd   `cmd:"" default:"1" help:"Run the server (the default)."`
	Migrate migrateCmd `cmd:"" help:"Bring the database to this program's schema, or show how."`
	User    userCmd    `cmd:"" help:"Accounts."`
	Keys    keysCmd    `cmd:"" help:"Signing keys of access tokens."`
	Health  healthCmd  `cmd:"" help:"Ask the running server whether it is ready: exit code 0 or 1, and a sentence."`
	Version versionCmd `cmd:"" help:"Print the version."`

	HashPasswords hashPasswordsCmd `cmd:"" hidden:"" help:"The server starts this for itself."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k := kong.Parse(&cli{}, kong.Name("cdsa"), kong.Description("CDSA, the Confidential Data Steward Agent. Settings come from the environment: docs/config.md."), kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)))
	if err := k.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "cdsa:", err)
		os.Exit(1)
	}
}

type serveCmd struct{}

func (serveCmd) Run(ctx context.Context) (err error) {
	cfg, log, err := settings()
	if err != nil {
		return err
	}
	ln, err := listen(cfg, os.Getenv("CDSA_LISTEN_ADDR") != "") // before the database: a taken port is known at once
	if err != nil {
		return err
	}
	defer ln.Close()
	program, err := program()
	if err != nil {
		return err
	}
	a, err := app.New(ctx, cfg, version, log, app.HashApart(program, "hash-passwords"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close(context.WithoutCancel(ctx))) }()
	welcome(a, ln.Addr())
	return a.Run(ctx, ln)
}

// program is the file that runs, on Linux whatever was put in its place since.
func program() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// maxPorts bounds the search for a free one.
const maxPorts = 20

// listen takes the address. In development, where nobody chose it and another program has it, the next free port will
// do, so that two checkouts run side by side.
func listen(cfg *config.Config, chosen bool) (net.Listener, error) {
	ln, err := net.Listen("tcp", cfg.Server.ListenAddr)
	if err == nil {
		return ln, nil
	}
	if errors.Is(err, syscall.EADDRINUSE) && !chosen && !cfg.InProduction() {
		at := netip.MustParseAddrPort(cfg.Server.ListenAddr) // the default
		for port := at.Port() + 1; port <= at.Port()+maxPorts; port++ {
			next := netip.AddrPortFrom(at.Addr(), port).String()
			if ln, err := net.Listen("tcp", next); err == nil {
				cfg.ListenOn(next)
				return ln, nil
			}
		}
	}
	return nil, fmt.Errorf("cannot listen: %w; choose another address with CDSA_LISTEN_ADDR", err)
}

func settings() (*config.Config, *slog.Logger, error) {
	cfg, err := config.Load(os.Environ())
	if err != nil {
		return nil, nil, err
	}
	log := app.NewLogger(cfg, os.Stderr)
	slog.SetDefault(log)
	return cfg, log, nil
}

// welcome tells a person where to go; a generated password is shown this once.
func welcome(a *app.App, addr net.Addr) {
	fmt.Printf("CDSA %s\n  playground  http://%s/\n  GraphQL     http://%s/graphql\n", version, addr, addr)
	if s := a.Seeded(); s.GeneratedPassword != "" {
		fmt.Printf("  first administrator  %s  password  %s\n  (shown this once; sign in and keep it safe)\n", s.AdminEmail, s.GeneratedPassword)
	}
}
