// Package serve runs distribution's registry: the one that comes with hoy.
package serve

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sirupsen/logrus"

	"hoy/registry/builtin"
)

// grace is how long requests may go on once the registry is to end.
const grace = 10 * time.Second

// Registry serves until ctx ends, and then lets requests end. It tells w where it
// listens, and with Verbose every request: a refusal is the client's to tell.
func Registry(ctx context.Context, o builtin.Options, w io.Writer) error {
	if err := o.Check(); err != nil {
		return err
	}
	dir, err := o.Folder()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the folder for images: %w", err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	scheme := "http"
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return fmt.Errorf("cannot use the certificate: %w", err)
		}
		scheme, s.TLSConfig = "https", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	logrus.SetOutput(w)
	logrus.SetLevel(logrus.FatalLevel)
	if o.Verbose {
		logrus.SetLevel(logrus.InfoLevel)
		s.ErrorLog = log.New(w, "hoy-registry: ", 0)
	}
	app, background := context.WithCancel(ctx)
	defer background()
	if s.Handler, err = handler(app, o, dir); err != nil {
		return err
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	if o.Htpasswd != "" && o.Cert == "" {
		fmt.Fprintln(w, "hoy-registry: warning: passwords come in clear without TLS")
	}
	fmt.Fprintf(w, "hoy-registry: listening on %s://%s, images in %s\n", scheme, l.Addr(), dir)
	return serve(ctx, s, l)
}

// handler is distribution's registry. It panics where it cannot be made.
func handler(ctx context.Context, o builtin.Options, dir string) (h http.Handler, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot make the registry: %v", p)
		}
	}()
	on := func(v bool) map[any]any { return map[any]any{"enabled": v} }
	c := &configuration.Configuration{Storage: configuration.Storage{
		"filesystem": {"rootdirectory": dir},
		"delete":     {"enabled": o.Delete},
	}}
	if o.ReadOnly { // then nothing is left of uploads, either
		c.Storage["maintenance"] = configuration.Parameters{"readonly": on(true), "uploadpurging": on(false)}
	}
	if o.Htpasswd != "" {
		c.Auth = configuration.Auth{"htpasswd": {"realm": "hoy-registry", "path": o.Htpasswd}}
	}
	// Layers that are fetched from elsewhere, as those of Windows: a manifest may name them.
	c.Validation.Manifests.URLs.Allow = []string{"^https?://"}
	c.Catalog.MaxEntries = 1000 // as its own configuration files have it: without one it lists none
	c.HTTP.Secret = rand.Text() // of the state of uploads, which clients hold: it lasts as long as this process
	return handlers.NewApp(ctx, c), nil
}

// serve answers until ctx ends.
func serve(ctx context.Context, s *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() {
		if s.TLSConfig != nil {
			ended <- s.ServeTLS(l, "", "")
			return
		}
		ended <- s.Serve(l)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("cannot serve: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := s.Shutdown(last); errors.Is(err, context.DeadlineExceeded) {
		return s.Close()
	} else if err != nil {
		return err
	}
	return nil
}
