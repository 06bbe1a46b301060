package httpx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// askTimeout leaves /readyz the time of its own checks.
const askTimeout = checkTimeout + 2*time.Second

// AskReady asks the server that listens at address on this machine whether it is ready: nil, or a sentence that says
// what /readyz does, which tells no secrets. A proxy that the environment names is not used.
func AskReady(ctx context.Context, address string) error {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "0" {
		return fmt.Errorf("the server cannot be asked at %s: the address has no port of its own", address)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address) // of no host, or 0.0.0.0: this machine
		},
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/readyz", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(r)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the server does not answer at %s within %v", address, askTimeout)
	case err != nil:
		return fmt.Errorf("nothing answers at %s: is the server running?", address)
	}
	defer func() { _ = res.Body.Close() }() // only read from
	if res.StatusCode == http.StatusOK {
		return nil
	}
	var body readyBody
	if err := json.NewDecoder(io.LimitReader(res.Body, 4<<10)).Decode(&body); err != nil || body.Status == "" {
		return fmt.Errorf("what answers at %s is not this server: status %d", address, res.StatusCode)
	}
	said := []string{body.Status}
	for _, name := range slices.Sorted(maps.Keys(body.Checks)) {
		if body.Checks[name] != "ok" {
			said = append(said, name+" "+body.Checks[name])
		}
	}
	return fmt.Errorf("the server is not ready: %s", strings.Join(said, ", "))
}
