package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"hoy/test/rootful"
)

// authority signs certificates and writes them as docker's clients want them.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.key, a.pem = a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	block, _ := pem.Decode(a.pem)
	var err error
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return a
}

// sign makes a key and a certificate for it, signed by a, or by itself at first.
func (a *authority) sign(c *x509.Certificate) (*ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// dir makes a directory with ca.pem, cert.pem, key.pem for 127.0.0.1 as either side.
func (a *authority) dir() string {
	a.t.Helper()
	key, cert := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "somebody"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	dir := a.t.TempDir()
	write(a.t, filepath.Join(dir, "ca.pem"), string(a.pem))
	write(a.t, filepath.Join(dir, "cert.pem"), string(cert))
	write(a.t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	return dir
}

// TestMutualTLS: over TCP only clients with a certificate of the authority are
// answered, hoy's as docker's, attached streams included.
func TestMutualTLS(t *testing.T) {
	rootful.Check(t)
	good, other := newAuthority(t), newAuthority(t)
	server, ours, theirs := good.dir(), good.dir(), other.dir()
	e := Start(t, "--host", "tcp://127.0.0.1:2376", "--tlsverify",
		"--tlscacert="+server+"/ca.pem", "--tlscert="+server+"/cert.pem", "--tlskey="+server+"/key.pem")

	hoy := func(ca, cert string, args ...string) (string, error) {
		c := exec.Command(Bin(t, "hoy"), append([]string{"-H", "tcp://127.0.0.1:2376", "--tlsverify",
			"--tlscacert=" + ca + "/ca.pem", "--tlscert=" + cert + "/cert.pem", "--tlskey=" + cert + "/key.pem"}, args...)...)
		c.Env, c.Stdin = os.Environ(), strings.NewReader("through TLS\n")
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := hoy(ours, ours, "run", "--rm", "-i", "hoy/toolbox", "cat"); err != nil || out != "through TLS\n" {
		t.Errorf("%v: %q", err, out)
	}
	if out, err := hoy(theirs, ours, "version"); err == nil || !strings.Contains(out, "unknown authority") {
		t.Errorf("the client trusts an engine of another authority: %v: %s", err, out)
	}
	if out, err := hoy(ours, theirs, "version"); err == nil {
		t.Errorf("the engine trusts a client of another authority: %s", out)
	}
	if out, err := hoy(ours, "/nonexistent", "version"); err == nil {
		t.Errorf("the engine trusts a client without certificate: %s", out)
	}
	plain := exec.Command(Bin(t, "hoy"), "-H", "tcp://127.0.0.1:2376", "version")
	if out, err := plain.CombinedOutput(); err == nil {
		t.Errorf("the engine answers without TLS: %s", out)
	}
	dockers(t, ours, true)
	dockers(t, theirs, false)
	if got := e.Hoy("info", "--format", "{{.Warnings}}"); strings.Contains(got, "API is accessible") {
		t.Error(got)
	}
}

// dockers asks by docker's own client, with the certificates of a directory.
func dockers(t *testing.T, dir string, answered bool) {
	t.Helper()
	c, err := client.New(client.WithHost("tcp://127.0.0.1:2376"),
		client.WithTLSClientConfig(dir+"/ca.pem", dir+"/cert.pem", dir+"/key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Ping(t.Context(), client.PingOptions{}); (err == nil) != answered {
		t.Errorf("docker's client: %v", err)
	}
}

// TestPlainTCP: what others than this machine reach without TLS must be asked for in
// so many words, or of dockerd, and warns.
func TestPlainTCP(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.Kill()
	out, err := exec.Command(e.flags[0], append(e.flags[1:], "--host", "tcp://0.0.0.0:2375")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "would be root on this machine") {
		t.Errorf("%v: %s", err, out)
	}
	flags := append(slices.Clip(e.flags), "--host", "tcp://0.0.0.0:2375")
	hoyd := flags[0]
	dockerd := filepath.Join(t.TempDir(), "dockerd")
	if err := os.Symlink(hoyd, dockerd); err != nil {
		t.Fatal(err)
	}
	for _, e.flags = range [][]string{append(slices.Clip(flags), "--tls=false"), append([]string{dockerd}, flags[2:]...)} {
		e.Up()
		if err := httpGet("http://127.0.0.1:2375/_ping"); err != nil {
			t.Error(err)
		}
		const warning = "API is accessible on http://0.0.0.0:2375 without encryption"
		if got := e.Hoy("info", "--format", "{{.Warnings}}"); !strings.Contains(got, warning) || !strings.Contains(e.Log(), warning) {
			t.Errorf("%s: no warning: %s\n%s", e.flags[0], got, e.Log())
		}
		e.Kill()
	}
	e.flags = flags[:len(flags)-2]
	e.Up()
}
