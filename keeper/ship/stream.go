package ship

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"time"
)

// dial connects within the time-out. TLS is verified unless config says otherwise.
func dial(a address, config *tls.Config) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	if a.network == "tls" {
		return tls.DialWithDialer(&d, "tcp", a.at, config)
	}
	return d.Dial(a.network, a.at)
}

// send writes b whole, within the time-out.
func send(c net.Conn, b []byte, within time.Duration) error {
	c.SetWriteDeadline(time.Now().Add(within))
	_, err := c.Write(b)
	return err
}

// tlsConfig is read at every connection, so that renewed files count.
func tlsConfig(ca, cert, key string, unverified bool) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: unverified}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, invalid("no certificate in %s", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
