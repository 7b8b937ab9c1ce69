package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestHalfClosed has a client close its side behind its request, as socat and netcat do
// at the end of their input: it is answered as any other.
func TestHalfClosed(t *testing.T) {
	socket, _ := serve(t, &backend{start: func(ctx context.Context, _ string) error {
		<-ctx.Done() // the server has seen it
		return errAbsent
	}})
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "POST /containers/x/start HTTP/1.1\r\nHost: engine\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusNotFound || !strings.Contains(string(body), errAbsent.Error()) {
		t.Errorf("answered %s %q, %v", resp.Status, body, err)
	}
}
