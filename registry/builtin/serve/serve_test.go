package serve

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hoy/registry/builtin"
)

// running is a registry, and how it ended.
type running struct {
	url    string
	client *http.Client
	stop   context.CancelFunc
	ended  chan error
}

// start runs a registry until the test ends.
func start(t *testing.T, o builtin.Options) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{stop: stop, ended: make(chan error, 1), client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ExpectContinueTimeout: time.Minute}}}
	out, w := io.Pipe()
	go func() {
		r.ended <- Registry(ctx, o, w)
		w.Close()
	}()
	var told bytes.Buffer
	address := regexp.MustCompile("listening on ([^,]+), images in (.*)\n")
	for b := make([]byte, 1024); ; {
		n, err := out.Read(b)
		told.Write(b[:n])
		if m := address.FindStringSubmatch(told.String()); m != nil {
			if m[2] != o.Data {
				t.Errorf("images in %s", m[2])
			}
			r.url = m[1]
			go io.Copy(io.Discard, out)
			break
		}
		if err != nil {
			t.Fatalf("it ended: %v\n%s", <-r.ended, told.String())
		}
	}
	t.Cleanup(func() { r.stop() })
	return r
}

// do sends a request and returns the answer's status and header.
func (r *running) do(t *testing.T, method, path, user, body string) (int, http.Header) {
	t.Helper()
	url := path
	if !strings.Contains(path, "://") {
		url = r.url + path
	}
	q, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		q.SetBasicAuth(user, "secret")
	}
	if method == "PUT" {
		q.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := r.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// blob is "abc" and its digest.
const blob = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

func (r *running) push(t *testing.T, user string) int {
	t.Helper()
	code, h := r.do(t, "POST", "/v2/x/blobs/uploads/", user, "")
	if code != 202 {
		return code
	}
	code, _ = r.do(t, "PUT", h.Get("Location")+"&digest="+blob, user, "abc")
	return code
}

// TestRegistry: what one keeps another that is started in the same folder has; what is
// not let is refused.
func TestRegistry(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "images")
	r := start(t, builtin.Options{Listen: "127.0.0.1:0", Data: dir})
	if code := r.push(t, ""); code != 201 {
		t.Fatalf("push: %d", code)
	}
	if code, _ := r.do(t, "DELETE", "/v2/x/blobs/"+blob, "", ""); code != 405 {
		t.Errorf("delete where that is not let: %d", code)
	}
	// A repository is listed from its first manifest on, which makes this folder.
	if err := os.Mkdir(filepath.Join(dir, "docker/registry/v2/repositories/x/_manifests"), 0o755); err != nil {
		t.Fatal(err)
	}
	resp, err := r.client.Get(r.url + "/v2/_catalog")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if list, err := io.ReadAll(resp.Body); err != nil || string(list) != "{\"repositories\":[\"x\"]}\n" {
		t.Errorf("catalog: %s, %v", list, err)
	}
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("ended: %v", err)
	}
	r = start(t, builtin.Options{Listen: "127.0.0.1:0", Data: dir, ReadOnly: true})
	if code, _ := r.do(t, "HEAD", "/v2/x/blobs/"+blob, "", ""); code != 200 {
		t.Errorf("what was pushed is gone: %d", code)
	}
	if code := r.push(t, ""); code != 405 {
		t.Errorf("push to one that is read only: %d", code)
	}
	r = start(t, builtin.Options{Listen: "127.0.0.1:0", Data: dir, Delete: true})
	if code, _ := r.do(t, "DELETE", "/v2/x/blobs/"+blob, "", ""); code != 202 {
		t.Errorf("delete: %d", code)
	}
}

func TestHtpasswd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte("me:$2a$04$tr6RF1ce532KD/vu0XB8qeMU5yYFTJzJbQgjZKGp/9SyhveE8u98O\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, builtin.Options{Listen: "127.0.0.1:0", Data: t.TempDir(), Htpasswd: file})
	for user, want := range map[string]int{"": 401, "you": 401, "me": 201} {
		if code := r.push(t, user); code != want {
			t.Errorf("%q: %d", user, code)
		}
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key)
	r := start(t, builtin.Options{Listen: "127.0.0.1:0", Data: dir, Cert: cert, Key: key, Verbose: true})
	if code := r.push(t, ""); code != 201 || !strings.HasPrefix(r.url, "https://") {
		t.Errorf("%s: %d", r.url, code)
	}
}

func writePair(t *testing.T, cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRefusals leaves nothing behind.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for want, o := range map[string]builtin.Options{
		"refusing to listen":         {Listen: "0.0.0.0:0", Data: dir},
		"cannot make the folder":     {Listen: "127.0.0.1:0", Data: file},
		"cannot use the certificate": {Listen: "127.0.0.1:0", Data: dir, Cert: file, Key: file},
		"cannot listen":              {Listen: taken.Addr().String(), Data: dir},
	} {
		if err := Registry(t.Context(), o, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestEnd lets a request end that has begun.
func TestEnd(t *testing.T) {
	r := start(t, builtin.Options{Listen: "127.0.0.1:0", Data: t.TempDir()})
	_, h := r.do(t, "POST", "/v2/x/blobs/uploads/", "", "")
	body, w := io.Pipe()
	q, err := http.NewRequest("PUT", h.Get("Location")+"&digest="+blob, body)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/octet-stream")
	q.Header.Set("Expect", "100-continue")
	begun := make(chan struct{})
	q = q.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(begun) }}))
	code := make(chan int, 1)
	go func() {
		resp, err := r.client.Do(q)
		if err != nil {
			t.Error(err)
			code <- 0
			return
		}
		resp.Body.Close()
		code <- resp.StatusCode
	}()
	<-begun // the registry reads
	r.stop()
	io.WriteString(w, "abc")
	w.Close()
	if c := <-code; c != 201 {
		t.Errorf("status %d", c)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("ended: %v", err)
	}
}
