package main

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/config"
)

func TestListen_TakenPort(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	load := func(env ...string) *config.Config {
		cfg, err := config.Load(append(env, "CDSA_LISTEN_ADDR="+taken.Addr().String()))
		require.NoError(t, err)
		return cfg
	}

	cfg := load()
	ln, err := listen(cfg, false)
	require.NoError(t, err)
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	require.NotEqual(t, taken.Addr().(*net.TCPAddr).Port, port)
	require.Equal(t, ln.Addr().String(), cfg.Server.ListenAddr)
	require.Equal(t, "http://127.0.0.1:"+strconv.Itoa(port), cfg.Mail.PublicURL, "links in mails lead here")

	cfg = load("CDSA_PUBLIC_URL=https://cdsa.example.org")
	other, err := listen(cfg, false)
	require.NoError(t, err)
	defer other.Close()
	require.Equal(t, "https://cdsa.example.org", cfg.Mail.PublicURL, "chosen, so kept")

	_, err = listen(load(), true)
	require.ErrorContains(t, err, "CDSA_LISTEN_ADDR", "nobody who chose a port gets another")
	cfg = load()
	cfg.Env = config.Production
	_, err = listen(cfg, false)
	require.ErrorContains(t, err, "CDSA_LISTEN_ADDR")
}
