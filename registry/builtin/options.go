// Package builtin says what the registry that comes with hoy may be told; package serve
// below it is the registry. The command line knows the options and not the registry,
// which is a program of its own.
package builtin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// Options say where a registry listens, what it keeps where, and who may use it.
type Options struct {
	Listen    string // host:port
	Data      string // folder of blobs and tags
	Cert, Key string // files (PEM): https; "" for http
	Htpasswd  string // file of names and bcrypt hashes; "": anybody may do anything
	ReadOnly  bool
	Delete    bool // let clients delete manifests and blobs
	Insecure  bool // let anybody in from anywhere
	Verbose   bool
}

// Register adds the options as flags.
func (o *Options) Register(f *pflag.FlagSet) {
	f.StringVar(&o.Listen, "listen", "127.0.0.1:5000", "Address to listen on, host:port; port 0 takes one that is free")
	f.StringVar(&o.Data, "data", "", "Folder for images (default: /var/lib/hoy-registry, or .local/share/hoy-registry of users)")
	f.StringVar(&o.Cert, "tls-cert", "", "Speak https by the certificate in this file (PEM)")
	f.StringVar(&o.Key, "tls-key", "", "The certificate's key (PEM)")
	f.StringVar(&o.Htpasswd, "htpasswd", "", "Ask for a name and password of this file, as htpasswd -B makes it")
	f.BoolVar(&o.ReadOnly, "read-only", false, "Refuse pushes")
	f.BoolVar(&o.Delete, "delete", false, "Let clients delete images")
	f.BoolVar(&o.Insecure, "insecure", false, "Let other machines in though there is neither TLS nor a password")
	f.BoolVar(&o.Verbose, "verbose", false, "Log every request")
}

// Check refuses what cannot work, and what would let in whoever reaches the address.
func (o *Options) Check() error {
	host, _, err := net.SplitHostPort(o.Listen)
	switch {
	case err != nil:
		return fmt.Errorf("invalid --listen %q: want host:port, as in 127.0.0.1:5000", o.Listen)
	case (o.Cert == "") != (o.Key == ""):
		return errors.New("--tls-cert and --tls-key need each other")
	case !loopback(host) && o.Cert == "" && o.Htpasswd == "" && !o.Insecure:
		return fmt.Errorf("refusing to listen on %s, where every machine that reaches it may push: use --tls-cert and --tls-key, --htpasswd, or --insecure", o.Listen)
	case o.ReadOnly && o.Delete:
		return errors.New("conflicting options: cannot specify both --read-only and --delete")
	}
	if o.Htpasswd != "" { // the library would make one with a password of its own
		if _, err := os.Stat(o.Htpasswd); err != nil {
			return fmt.Errorf("cannot read --htpasswd: %w", err)
		}
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Folder is where images are kept.
func (o *Options) Folder() (string, error) {
	if o.Data != "" {
		return filepath.Abs(o.Data)
	}
	if os.Geteuid() == 0 {
		return "/var/lib/hoy-registry", nil
	}
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "hoy-registry"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("name a folder by --data: %w", err)
	}
	return filepath.Join(home, ".local", "share", "hoy-registry"), nil
}
