//go:build !windows

package client

import (
	"context"
	"fmt"
	"net"
)

func dialPipe(_ context.Context, path string) (net.Conn, error) {
	return nil, fmt.Errorf("cannot open the named pipe %s: named pipes are of Windows", path)
}
