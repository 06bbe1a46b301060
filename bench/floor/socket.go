//go:build unix

package main

import (
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/gorilla/websocket"
)

// sockets is a plain broadcast: gorilla's prepared message, written to one connection after the other.
type sockets struct {
	up websocket.Upgrader
	mu sync.Mutex
	on map[*websocket.Conn]struct{}
}

func newSockets() *sockets {
	return &sockets{on: map[*websocket.Conn]struct{}{}, up: websocket.Upgrader{Subprotocols: []string{"graphql-transport-ws"}, ReadBufferSize: 512, WriteBufferSize: 512}}
}

func (s *sockets) join(w http.ResponseWriter, r *http.Request) {
	ws, err := s.up.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	s.mu.Lock()
	s.on[ws] = struct{}{}
	s.mu.Unlock()
	for {
		if _, _, err := ws.NextReader(); err != nil {
			break
		}
	}
	s.mu.Lock()
	delete(s.on, ws)
	s.mu.Unlock()
	_ = ws.Close() // the peer is gone
}

// broadcast sends the body to every socket, times over when asked, and says to how many.
func (s *sockets) broadcast(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "malformed", http.StatusBadRequest)
		return
	}
	times, err := strconv.Atoi(r.URL.Query().Get("times"))
	if err != nil || times < 1 || times > 1000 {
		http.Error(w, "times must be 1 to 1000", http.StatusBadRequest)
		return
	}
	sent := 0
	s.mu.Lock()
	defer s.mu.Unlock()
	for range times {
		m, err := websocket.NewPreparedMessage(websocket.TextMessage, body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		for ws := range s.on {
			if err := ws.WritePreparedMessage(m); err == nil {
				sent++
			}
		}
	}
	_, _ = w.Write(strconv.AppendInt(nil, int64(sent), 10))
}
