package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/app"
	"cdsa.dev/cdsa/internal/auth/hashproc"
	"cdsa.dev/cdsa/internal/httpx"
	"cdsa.dev/cdsa/migrate"
)

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println(version)
	return nil
}

type healthCmd struct{}

func (healthCmd) Run(ctx context.Context) error {
	cfg, _, err := settings()
	if err != nil {
		return err
	}
	if err := httpx.AskReady(ctx, cfg.Server.ListenAddr); err != nil {
		return err
	}
	fmt.Println("the server is ready")
	return nil
}

// hashPasswordsCmd is the child that serve starts. It knows no settings.
type hashPasswordsCmd struct{}

func (hashPasswordsCmd) Run() error { return hashproc.Serve(os.Stdin, os.Stdout) }

type migrateCmd struct {
	Up     migrateUp     `cmd:"" help:"Apply what is pending."`
	Status migrateStatus `cmd:"" help:"List migrations and when they were applied."`
	SQL    migrateSQL    `cmd:"" name:"sql" help:"Print, offline, what up runs on an empty database."`
}

type migrateUp struct{}

func (migrateUp) Run(ctx context.Context) (err error) {
	a, err := open(ctx) // opening migrates
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close(context.WithoutCancel(ctx))) }()
	fmt.Println("the database is up to date")
	return nil
}

type migrateStatus struct{}

func (migrateStatus) Run(ctx context.Context) error {
	cfg, log, err := settings()
	if err != nil {
		return err
	}
	return app.WithOwner(ctx, cfg, log, func(url string) error {
		all, err := migrate.Status(ctx, url)
		if err != nil {
			return err
		}
		for _, r := range all {
			at := "pending"
			if !r.At.IsZero() {
				at = r.At.UTC().Format("2006-01-02 15:04:05 UTC")
			}
			fmt.Printf("%s  %-12s  %s\n", r.Version, r.Description, at)
		}
		return nil
	})
}

type migrateSQL struct{}

func (migrateSQL) Run() error {
	s, err := migrate.SQL()
	if err != nil {
		return err
	}
	_, err = os.Stdout.WriteString(s)
	return err
}

type userCmd struct {
	Create userCreate `cmd:"" help:"Make an account. The password is read from standard input."`
}

type userCreate struct {
	Email    string   `required:"" help:"E-mail address."`
	Username string   `required:"" help:"Login name."`
	FullName string   `help:"Name as shown to others."`
	Role     []string `default:"analyst" help:"Role; may be repeated."`
}

func (c userCreate) Run(ctx context.Context) (err error) {
	password, err := readPassword()
	if err != nil {
		return err
	}
	cfg, log, err := settings()
	if err != nil {
		return err
	}
	a, err := app.New(ctx, cfg, version, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close(context.WithoutCancel(ctx))) }()
	id, err := a.CreateUser(ctx, account.CreateUserInput{Email: c.Email, Username: c.Username, FullName: c.FullName, Password: password, Roles: c.Role})
	if err != nil {
		return err
	}
	fmt.Println(id)
	return nil
}

// readPassword takes a line of standard input; of a terminal without showing it.
func readPassword() (string, error) {
	if fd := int(os.Stdin.Fd()); term.IsTerminal(fd) {
		fmt.Fprint(os.Stderr, "password: ")
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return string(b), nil
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && line == "" {
		return "", errors.New("no password on standard input")
	}
	return strings.TrimRight(line, "\r\n"), nil
}

type keysCmd struct {
	Rotate keysRotate `cmd:"" help:"Add a new signing key of access tokens to the key file. It signs a minute later; nobody is logged out. Running servers read the file by themselves."`
}

type keysRotate struct {
	Compromised bool `help:"The present keys may be known to someone: sign with the new key at once and refuse every token of the old ones."`
}

func (c keysRotate) Run(context.Context) error {
	cfg, _, err := settings()
	if err != nil {
		return err
	}
	r, err := app.RotateSigningKey(cfg, c.Compromised)
	if err != nil {
		return err
	}
	fmt.Printf("the key %s signs from %s\n", r.KeyID, r.SignsFrom.Format("2006-01-02 15:04:05 UTC"))
	for _, kid := range r.Dropped {
		fmt.Printf("the key %s is accepted no more\n", kid)
	}
	return nil
}

func open(ctx context.Context) (*app.App, error) {
	cfg, log, err := settings()
	if err != nil {
		return nil, err
	}
	return app.Open(ctx, cfg, log)
}
