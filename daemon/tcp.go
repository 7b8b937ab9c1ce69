package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"hoy/lib/fault"
)

// listenTCP listens with TLS if the options say so. Without clients' certificates
// whoever reaches the port is root here, so that must be asked for in so many words,
// unless only this machine can reach it.
func (o *Options) listenTCP(address string) (net.Listener, error) {
	if !o.TLSVerify && !o.Plain && !isLoopback(address) {
		return nil, fault.New(fault.Invalid, "whoever reaches %s would be root on this machine: "+
			"say --tlsverify with --tlscacert, --tlscert and --tlskey, or --tlsverify=false or --tls=false if that is meant", address)
	}
	var config *tls.Config
	if o.TLS {
		var err error
		if config, err = o.tlsConfig(); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", address)
	if err != nil || config == nil {
		return l, err
	}
	return tls.NewListener(l, config), nil
}

// isLoopback reports whether only this machine reaches an address.
func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// exposed says, in docker's words, what is wrong with an address that others than
// certified clients reach; "" when nothing is.
func (o *Options) exposed(host string) string {
	scheme, address, err := o.splitHost(host)
	const meaning = "Access to the remote API is equivalent to root access on the host"
	switch {
	case err != nil || scheme != "tcp" || o.TLSVerify:
		return ""
	case !o.TLS:
		return "API is accessible on http://" + address + " without encryption. " + meaning
	default:
		return "API is accessible on https://" + address + " without TLS client verification. " + meaning
	}
}

// certFile is a file of the TLS options, or the one of that name where docker keeps
// them: DOCKER_CERT_PATH, DOCKER_CONFIG or ~/.docker.
func certFile(given, name string) string {
	if given != "" {
		return given
	}
	for _, env := range []string{"DOCKER_CERT_PATH", "DOCKER_CONFIG"} {
		if dir := os.Getenv(env); dir != "" {
			return filepath.Join(dir, name)
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/root"
	}
	return filepath.Join(home, ".docker", name)
}

func (o *Options) tlsConfig() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(certFile(o.TLSCert, "cert.pem"), certFile(o.TLSKey, "key.pem"))
	if err != nil {
		return nil, unreadable("--tlscert, --tlskey", "certificate", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	if !o.TLSVerify {
		return c, nil
	}
	authority := certFile(o.TLSCACert, "ca.pem")
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, unreadable("--tlscacert", "authority", err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Invalid, "cannot load the authority: no certificate in %s", authority)
	}
	return c, nil
}

// unreadable says which flag names a file that is not there.
func unreadable(flag, what string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.Invalid, "cannot load the %s: %w (%s name it)", what, err, flag)
	}
	return fmt.Errorf("cannot load the %s: %w", what, err)
}
