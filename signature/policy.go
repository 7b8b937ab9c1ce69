// Package signature says by a policy whose images are taken, gathers what a registry has
// of their signatures, and has them verified by the program hoy-verify: its libraries are
// large, and what they read is foreign.
package signature

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/distribution/reference"

	"hoy/lib/fault"
)

// Policy is what the file of --signature-policy says: the first rule whose match has a
// repository counts, then Default.
//
//	{"default": "accept",
//	 "rules": [
//	   {"match": "example.com/team/*", "action": "verify", "keys": ["team.pub"]},
//	   {"match": "example.org/*", "action": "verify", "trustedRoot": "trusted_root.json",
//	    "identities": [{"issuer": "https://id.example.org", "subject": "release@example.org"}]},
//	   {"match": "example.net/*", "action": "reject"}]}
//
// Relative paths are from the policy's own directory.
type Policy struct {
	Default Action `json:"default"`
	Rules   []Rule `json:"rules"`
}

// Action is what becomes of an image.
type Action string

// The actions. Verify needs one good signature: by one of the keys, or by a certificate
// for one of the identities.
const (
	Accept Action = "accept"
	Reject Action = "reject"
	Verify Action = "verify"
)

// Rule is about the repositories that Match has: a full name, or the beginning of names
// with a star at its end.
type Rule struct {
	Match       string     `json:"match"`
	Action      Action     `json:"action"`
	Keys        []string   `json:"keys,omitempty"`        // files of public keys (PEM)
	TrustedRoot string     `json:"trustedRoot,omitempty"` // file of certificate authorities and logs (sigstore's trusted_root.json)
	Identities  []Identity `json:"identities,omitempty"`
}

// Identity is whom a certificate was given to: the issuer of the login and the subject,
// an address of mail or a workflow's URI, itself or as a regular expression.
type Identity struct {
	Issuer        string `json:"issuer"`
	Subject       string `json:"subject,omitempty"`
	SubjectRegExp string `json:"subjectRegExp,omitempty"`
}

// Load reads a policy. What it names must be there.
func Load(path string) (*Policy, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot read signature policy: %w", err)
	}
	var p Policy
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return nil, fault.New(fault.Invalid, "cannot read signature policy %s: %w", path, err)
	}
	if p.Default == "" {
		p.Default = Accept
	}
	if p.Default == Verify {
		err = errors.New(`"default" is accept or reject: verify needs a rule with keys or identities`)
	} else if p.Default != Accept && p.Default != Reject {
		err = fmt.Errorf("unknown default %q: accept or reject", p.Default)
	}
	for i := range p.Rules {
		if err == nil {
			err = p.Rules[i].check(filepath.Dir(path))
		}
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "signature policy %s: %w", path, err)
	}
	return &p, nil
}

func (r *Rule) check(dir string) error {
	if r.Match == "" || strings.Contains(strings.TrimSuffix(r.Match, "*"), "*") {
		return fmt.Errorf("match %q: want a repository, or the beginning of some with one star at its end", r.Match)
	}
	signers := len(r.Keys) + len(r.Identities)
	switch {
	case r.Action != Accept && r.Action != Reject && r.Action != Verify:
		return fmt.Errorf("%s: unknown action %q: accept, reject or verify", r.Match, r.Action)
	case r.Action == Verify && signers == 0:
		return fmt.Errorf("%s: verify needs keys or identities", r.Match)
	case r.Action != Verify && (signers > 0 || r.TrustedRoot != ""):
		return fmt.Errorf("%s: keys, identities and trustedRoot go with the action verify only", r.Match)
	case (len(r.Identities) > 0) != (r.TrustedRoot != ""):
		return fmt.Errorf("%s: identities and trustedRoot go together", r.Match)
	}
	for _, i := range r.Identities {
		if i.Issuer == "" || (i.Subject == "") == (i.SubjectRegExp == "") {
			return fmt.Errorf("%s: an identity has an issuer and either subject or subjectRegExp", r.Match)
		}
		if _, err := regexp.Compile(i.SubjectRegExp); err != nil {
			return fmt.Errorf("%s: %w", r.Match, err)
		}
	}
	files := []*string{}
	if r.TrustedRoot != "" {
		files = append(files, &r.TrustedRoot)
	}
	for n := range r.Keys {
		files = append(files, &r.Keys[n])
	}
	for _, f := range files {
		if !filepath.IsAbs(*f) {
			*f = filepath.Join(dir, *f)
		}
		if _, err := os.Stat(*f); err != nil {
			return fmt.Errorf("%s: %w", r.Match, err)
		}
	}
	return nil
}

// rule is what counts for a repository.
func (p *Policy) rule(name reference.Named) Rule {
	for _, r := range p.Rules {
		if begin, star := strings.CutSuffix(r.Match, "*"); name.Name() == r.Match || star && strings.HasPrefix(name.Name(), begin) {
			return r
		}
	}
	return Rule{Match: "*", Action: p.Default}
}
