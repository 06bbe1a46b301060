//go:build linux

// Bench measures the server against the floor (bench/floor): it starts a private database, fills it, runs both programs
// on loopback and drives them in turn. Everything is bounded, stops by itself and is removed. It writes
// docs/performance.md and ends with status 1 when a mark is missed. Run it by `make bench`; -cpuprofile keeps profiles of
// the server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cdsa.dev/cdsa/internal/config"
)

// limit is the longest run.
const limit = 10 * time.Minute

var (
	binFlag     = flag.String("bin", "bin/cdsa", "the server's program")
	docFlag     = flag.String("doc", "docs/performance.md", "where the report goes; empty: nowhere")
	onlyFlag    = flag.String("only", "", "measure only workloads whose name contains this; writes no report")
	profileFlag = flag.String("cpuprofile", "", "folder for profiles of the server's CPU and allocations, two a workload")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ok, err := run(ctx)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	case !ok:
		fmt.Fprintln(os.Stderr, "bench: a mark was missed")
		os.Exit(1)
	}
}

func run(ctx context.Context) (ok bool, err error) {
	bin, err := filepath.Abs(*binFlag)
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(bin); err != nil {
		return false, fmt.Errorf("%w: run it by `make bench`", err)
	}
	begun := time.Now()
	r, err := openRig(ctx, bin)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, r.close(ctx)) }()
	w, err := r.prepare(ctx)
	if err != nil {
		return false, err
	}
	fmt.Printf("prepared in %v\n", time.Since(begun).Round(time.Second))
	rep := report{bin: bin}
	if err := r.measureAll(ctx, w, &rep); err != nil {
		return false, err
	}
	rep.took = time.Since(begun)
	fmt.Print(rep.table())
	if *docFlag != "" && *onlyFlag == "" {
		if err := os.WriteFile(*docFlag, []byte(rep.document()), 0o644); err != nil { //nolint:gosec // a document
			return false, err
		}
	}
	return rep.ok(), nil
}

// prepare migrates by a first start, seeds, and starts both programs.
func (r *rig) prepare(ctx context.Context) (*world, error) {
	if err := r.startServer(ctx); err != nil {
		return nil, err
	}
	if err := r.server.stop(); err != nil {
		return nil, err
	}
	cfg, err := config.Load(r.settings("127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	key, err := cfg.AuditKey()
	if err != nil {
		return nil, err
	}
	w, err := r.seed(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	if err := r.holdRelay(ctx); err != nil {
		return nil, err
	}
	if err := r.startServer(ctx); err != nil {
		return nil, err
	}
	return w, r.startFloor(ctx)
}

func wanted(name string) bool { return strings.Contains(name, *onlyFlag) }

func (r *rig) measureAll(ctx context.Context, w *world, rep *report) error {
	if err := pause(ctx, idleTime); err != nil { // after the start
		return err
	}
	var err error
	if rep.memory.idle, err = rss(r.server.pid()); err != nil {
		return err
	}
	tokens, err := r.signIn(ctx)
	if err != nil {
		return err
	}
	byID, err := r.sessionByID(ctx, w, tokens)
	if err != nil {
		return err
	}
	lists, err := r.sessionsWithMessages(ctx, tokens)
	if err != nil {
		return err
	}
	audit, err := r.audit(ctx, tokens)
	if err != nil {
		return err
	}
	if rep.statements, err = r.statements(ctx, func() error {
		_, err := drive(ctx, r.server.url, time.Minute, 1, func(i int) call { return lists.next[serverSide](0, i) })
		return err
	}); err != nil {
		return err
	}
	for _, wl := range []workload{byID, lists, audit} {
		if err := r.measureOne(ctx, wl, rep); err != nil {
			return err
		}
	}
	if wanted("identity") {
		if err := r.measureIdentity(ctx, byID, tokens, rep); err != nil {
			return fmt.Errorf("identity: %w", err)
		}
	}
	if err := r.measureOne(ctx, r.send(w, tokens), rep); err != nil { // changes what the queries answer
		return err
	}
	if err := r.letRelay(ctx); err != nil {
		return fmt.Errorf("let the relay work: %w", err)
	}
	if err := r.measureOne(ctx, r.sendRelayed(w, tokens), rep); err != nil {
		return err
	}
	if !wanted("fan-out") {
		return nil
	}
	stop := r.profile(ctx, "fan-out", 20*time.Second)
	res, err := r.fanOut(ctx, w, tokens)
	if err = errors.Join(err, stop()); err != nil {
		return fmt.Errorf("fan-out: %w", err)
	}
	rep.add(res)
	if err := r.server.stop(); err != nil {
		return err
	}
	if err := r.startServer(ctx); err != nil {
		return err
	}
	if rep.memory.perConnection, err = r.idleSubscriptions(ctx, tokens, w); err != nil {
		return fmt.Errorf("idle subscriptions: %w", err)
	}
	return nil
}

// measureIdentity compares authentication with the by-id query, measuring that anew when it was not asked for.
func (r *rig) measureIdentity(ctx context.Context, byID workload, tokens []string, rep *report) error {
	query, err := r.measure(ctx, byID)
	if err != nil {
		return err
	}
	auth, err := r.measure(ctx, r.authenticated(tokens))
	if err != nil {
		return err
	}
	if rep.identity, err = r.loginStorm(ctx, byID); err != nil {
		return err
	}
	rep.identity.authentication, rep.identity.byID = auth.cost(serverSide)-auth.cost(floorSide), query.cost(serverSide)
	fmt.Print(rep.identity.lines())
	return nil
}

func (r *rig) measureOne(ctx context.Context, wl workload, rep *report) error {
	if !wanted(wl.name) {
		return nil
	}
	stop := r.profile(ctx, wl.name, 2*time.Duration(wl.pairs)*wl.slice)
	res, err := r.measure(ctx, wl)
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	rep.add(res)
	return nil
}

// profile takes profiles of the server's CPU and allocations while a workload runs, when they are wanted; stop waits for
// them.
func (r *rig) profile(ctx context.Context, name string, d time.Duration) (stop func() error) {
	if *profileFlag == "" {
		return func() error { return nil }
	}
	kinds := map[string]string{"profile": ".cpu.pprof", "allocs": ".allocs.pprof"}
	done := make(chan error, len(kinds))
	for kind, suffix := range kinds {
		go func() {
			done <- r.keepProfile(ctx, fmt.Sprintf("%s?seconds=%d", kind, int(d.Seconds())), filepath.Join(*profileFlag, strings.ReplaceAll(name, " ", "-")+suffix))
		}()
	}
	return func() (err error) {
		for range kinds {
			err = errors.Join(err, <-done)
		}
		return err
	}
}

func (r *rig) keepProfile(ctx context.Context, kind, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.server.url+"/debug/pprof/"+kind, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("profile %s: %s: %.200s", kind, res.Status, b)
	}
	return os.WriteFile(path, b, 0o600)
}
