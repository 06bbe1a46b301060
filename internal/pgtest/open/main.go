//go:build unix

// Command open starts the cluster that a failed test left, prints how to reach
// it and stops it on Ctrl-C: go run ./internal/pgtest/open FOLDER.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"cdsa.dev/cdsa/internal/pglocal"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "open:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("give the folder that the failed test named")
	}
	dir := os.Args[1]
	names, err := os.ReadFile(dir + "/kept")
	if err != nil {
		return fmt.Errorf("no test left a database there: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cluster, err := pglocal.Start(ctx, pglocal.Config{Dir: dir, Throwaway: true})
	if err != nil {
		return err
	}
	fmt.Printf("databases:\n%spsql '%s'\nCtrl-C stops it.\n", names, cluster.URL(pglocal.Owner, "postgres"))
	select {
	case <-ctx.Done():
	case <-cluster.Done():
		return fmt.Errorf("postgres ended by itself; see %s/postgres.log", dir)
	}
	end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return cluster.Stop(end)
}
