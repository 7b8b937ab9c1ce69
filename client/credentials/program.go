package credentials

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/moby/moby/api/types/registry"
)

// program is NAME of docker-credential-NAME, which keeps credentials: in a key ring, say.
// It is asked by one word (get, store, erase) as argument, reads its standard input and
// answers on its standard output (docker/docker-credential-helpers, "Development").
type program string

// kept is how programs read and write credentials.
type kept struct {
	ServerURL string
	Username  string
	Secret    string
}

// tokenName stands for a name where the secret is an identity token.
const tokenName = "<token>"

// notFound is what programs answer that have none for a server.
const notFound = "credentials not found in native keychain"

// errNotFound is no failure of a program.
var errNotFound = errors.New(notFound)

func (p program) run(word string, in []byte) ([]byte, error) {
	name := "docker-credential-" + string(p)
	if strings.ContainsAny(string(p), `/\`) { // it is looked for on the PATH only
		return nil, fmt.Errorf("invalid name of a credential helper: %q", string(p))
	}
	c := exec.Command(name, word)
	c.Stdin, c.Stderr = bytes.NewReader(in), os.Stderr // it may ask for something
	out, err := c.Output()
	text := strings.TrimSpace(string(out))
	switch {
	case err != nil && text == notFound:
		return nil, errNotFound
	case err != nil && text != "":
		return nil, fmt.Errorf("cannot %s credentials by %s: %s", word, name, text)
	case err != nil:
		return nil, fmt.Errorf("cannot %s credentials by %s: %w", word, name, err)
	}
	return out, nil
}

func (p program) get(server string) (registry.AuthConfig, error) {
	a := registry.AuthConfig{ServerAddress: server}
	out, err := p.run("get", []byte(server))
	if errors.Is(err, errNotFound) {
		return a, nil
	} else if err != nil {
		return a, err
	}
	var k kept
	if err := json.Unmarshal(out, &k); err != nil {
		return a, fmt.Errorf("cannot read the answer of docker-credential-%s: %w", string(p), err)
	}
	if k.Username == tokenName {
		a.IdentityToken = k.Secret
	} else {
		a.Username, a.Password = k.Username, k.Secret
	}
	return a, nil
}

func (p program) store(a registry.AuthConfig) error {
	k := kept{a.ServerAddress, a.Username, a.Password}
	if a.IdentityToken != "" {
		k.Username, k.Secret = tokenName, a.IdentityToken
	}
	b, err := json.Marshal(k)
	if err == nil {
		_, err = p.run("store", b)
	}
	return err
}

func (p program) erase(server string) error {
	_, err := p.run("erase", []byte(server))
	if errors.Is(err, errNotFound) {
		return nil
	}
	return err
}
