// Package credentials keeps what registries are logged in to with, where docker keeps
// it: in config.json, or in the store of a program docker-credential-NAME that
// config.json names.
package credentials

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/registry"

	"hoy/client/configfile"
)

// Store are the credentials that a config.json has or points to. Servers are named as
// docker names them: host[:port], the default registry by its index's address.
//
//	s, err := credentials.Open(configfile.Read(dir))
//	auth, err := s.Get("example.com:5000") // zero if there are none
//	plain, err := s.Put(auth)
//	err = s.Erase("example.com:5000")
//
// A store is for one command: nobody may write the file meanwhile, and it is not for
// several goroutines.
type Store struct {
	file    *configfile.File
	auths   map[string]json.RawMessage
	helper  string                     // name of the program for all servers, "" for the file itself
	helpers map[string]string          // by server
	given   map[string]json.RawMessage // by Give, of this command alone
}

// entry is a server in the file (docker's types.AuthConfig).
type entry struct {
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	Auth          string `json:"auth,omitempty"` // NAME:PASSWORD in base64, in place of the two
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// Open reads the credentials of a file.
func Open(f *configfile.File) (*Store, error) {
	s := &Store{file: f, auths: map[string]json.RawMessage{}}
	err := f.Broken()
	for name, to := range map[string]any{"auths": &s.auths, "credsStore": &s.helper, "credHelpers": &s.helpers} {
		if err == nil {
			err = f.Get(name, to)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the credentials: %w", err)
	}
	if s.auths == nil { // null
		s.auths = map[string]json.RawMessage{}
	}
	return s, nil
}

// Give adds credentials that precede those in the file and are not kept: the text of
// docker's variable DOCKER_AUTH_CONFIG, {"auths": {"SERVER": {"auth": "…"}}}.
func (s *Store) Give(text string) error {
	var given struct {
		Auths map[string]json.RawMessage `json:"auths"`
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&given); err != nil {
		return fmt.Errorf("cannot read the credentials given: %w", err)
	}
	s.given = given.Auths
	return nil
}

// File is the path of the configuration.
func (s *Store) File() string { return s.file.Path() }

// Servers are those that the file names.
func (s *Store) Servers() []string { return slices.Sorted(maps.Keys(s.auths)) }

// program is the one that keeps a server's credentials, "" for the file.
func (s *Store) program(server string) program {
	if p, ok := s.helpers[server]; ok {
		return program(p)
	}
	return program(s.helper)
}

// Get returns the credentials for a server: zero values but for ServerAddress if there
// are none.
func (s *Store) Get(server string) (registry.AuthConfig, error) {
	a := registry.AuthConfig{ServerAddress: server}
	raw, ok := find(s.given, server)
	if p := s.program(server); p != "" && !ok {
		return p.get(server)
	}
	if !ok {
		raw, ok = find(s.auths, server)
	}
	if !ok {
		return a, nil
	}
	var e entry
	err := json.Unmarshal(raw, &e)
	if err == nil && e.Auth != "" {
		e.Username, e.Password, err = decode(e.Auth)
	}
	if err != nil {
		return a, fmt.Errorf("cannot read the credentials for %s in %s: %w", server, s.file.Path(), err)
	}
	a.Username, a.Password, a.IdentityToken, a.RegistryToken = e.Username, e.Password, e.IdentityToken, e.RegistryToken
	return a, nil
}

// All are the credentials that are kept, by server as the file names them, for an engine
// that has yet to find out which it needs. Those that cannot be read are told to warn and
// left out.
func (s *Store) All(warn func(error)) map[string]registry.AuthConfig {
	all := map[string]registry.AuthConfig{}
	for _, servers := range []map[string]json.RawMessage{s.auths, s.given} {
		for server := range servers {
			a, err := s.Get(server)
			switch {
			case err != nil:
				warn(err)
			case a.Username != "" || a.IdentityToken != "" || a.RegistryToken != "":
				all[server] = a
			}
		}
	}
	return all
}

// find looks for a server. Old files have addresses where hosts should be.
func find(auths map[string]json.RawMessage, server string) (raw json.RawMessage, ok bool) {
	if raw, ok = auths[server]; ok {
		return raw, true
	}
	for _, name := range slices.Sorted(maps.Keys(auths)) {
		if Host(name) == server {
			return auths[name], true
		}
	}
	return nil, false
}

func decode(auth string) (name, password string, err error) {
	b, err := base64.StdEncoding.DecodeString(auth)
	if err != nil {
		return "", "", err
	}
	name, password, ok := strings.Cut(string(b), ":")
	if !ok || name == "" {
		return "", "", errors.New("auth is not NAME:PASSWORD in base64")
	}
	return name, strings.Trim(password, "\x00"), nil
}

// Put keeps credentials for a.ServerAddress. plain says that the file has a password now
// that anybody can read who reads the file.
func (s *Store) Put(a registry.AuthConfig) (plain bool, err error) {
	delete(s.given, a.ServerAddress)
	server, e := a.ServerAddress, entry{IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
	if p := s.program(server); p != "" {
		if err := p.store(a); err != nil {
			return false, err
		}
		e = entry{} // the file only says that there is something
	} else if a.Username != "" || a.Password != "" {
		e.Auth = base64.StdEncoding.EncodeToString([]byte(a.Username + ":" + a.Password))
		plain = a.Password != ""
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return false, err
	}
	if bytes.Equal(s.auths[server], raw) {
		return false, nil
	}
	s.auths[server] = raw
	return plain, s.file.Set("auths", s.auths)
}

// Erase forgets a server's credentials. That there are none is no error.
func (s *Store) Erase(server string) error {
	delete(s.given, server)
	if p := s.program(server); p != "" {
		if err := p.erase(server); err != nil {
			return err
		}
	}
	if _, ok := s.auths[server]; !ok {
		return nil
	}
	delete(s.auths, server)
	return s.file.Set("auths", s.auths)
}

// Host takes host[:port] out of an address.
func Host(address string) string {
	if u, err := url.Parse(address); err == nil && strings.Contains(address, "://") && u.Hostname() != "" {
		if u.Port() == "" {
			return u.Hostname()
		}
		return net.JoinHostPort(u.Hostname(), u.Port())
	}
	host, _, _ := strings.Cut(address, "/")
	return host
}
