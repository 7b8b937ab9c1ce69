package signature

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"hoy/lib/fault"
)

// Request is what hoy-verify reads from its standard input, as JSON.
type Request struct {
	Name        string     `json:"name"`   // the repository
	Digest      string     `json:"digest"` // of the image
	Keys        [][]byte   `json:"keys,omitempty"`
	TrustedRoot []byte     `json:"trustedRoot,omitempty"`
	Identities  []Identity `json:"identities,omitempty"`
	Attached    []Attached `json:"attached,omitempty"`
	Bundles     [][]byte   `json:"bundles,omitempty"`
}

// Attached is a signature in cosign's form: of a text about the image.
type Attached struct {
	Payload     []byte `json:"payload"`
	Signature   string `json:"signature"`             // base64
	Certificate string `json:"certificate,omitempty"` // PEM
	Chain       string `json:"chain,omitempty"`       // PEM
	Log         string `json:"log,omitempty"`         // the transparency log's promise, JSON
}

// Answer is what hoy-verify writes to its standard output.
type Answer struct {
	Good    bool     `json:"good"`
	By      string   `json:"by,omitempty"`      // who has signed
	Reasons []string `json:"reasons,omitempty"` // why signatures were not good
}

// Checker checks images before they are taken.
type Checker struct {
	Policy  *Policy
	Program string // path of hoy-verify
}

// Check returns who has signed the image, "" where the policy asks for nobody, or an
// error that is fault.Forbidden when it must not be taken.
func (c *Checker) Check(ctx context.Context, src Source, name reference.Named, image digest.Digest) (by string, err error) {
	rule := c.Policy.rule(name)
	refused := func(format string, args ...any) error {
		return fault.New(fault.Forbidden, "%s@%s is refused by the signature policy (rule %q): %w", reference.FamiliarName(name), image, rule.Match, fmt.Errorf(format, args...))
	}
	switch rule.Action {
	case Accept:
		return "", nil
	case Reject:
		return "", refused("images from there are not taken")
	}
	q, err := collect(ctx, src, image)
	if err != nil {
		return "", fmt.Errorf("cannot get signatures of %s: %w", reference.FamiliarName(name), err)
	}
	if len(q.Attached)+len(q.Bundles) == 0 {
		return "", refused("it has no signature")
	}
	q.Name, q.Digest, q.Identities = reference.TrimNamed(name).Name(), image.String(), rule.Identities
	if err := q.addFiles(rule); err != nil {
		return "", err
	}
	a, err := c.run(ctx, q)
	if err != nil {
		return "", fmt.Errorf("cannot verify signatures of %s: %w", reference.FamiliarName(name), err)
	}
	if !a.Good {
		return "", refused("no signature is good: %s", strings.Join(a.Reasons, "; "))
	}
	return a.By, nil
}

// addFiles reads keys and roots anew for each image: they may be replaced.
func (r *Request) addFiles(rule Rule) (err error) {
	for _, k := range rule.Keys {
		b, err := os.ReadFile(k)
		if err != nil {
			return fmt.Errorf("cannot read key: %w", err)
		}
		r.Keys = append(r.Keys, b)
	}
	if rule.TrustedRoot != "" {
		if r.TrustedRoot, err = os.ReadFile(rule.TrustedRoot); err != nil {
			return fmt.Errorf("cannot read trusted root: %w", err)
		}
	}
	return nil
}

// nobody is the user of a process that needs no rights.
const nobody = 65534

const patience = 30 * time.Second

// run runs the program, as nobody and without a network where that can be.
func (c *Checker) run(ctx context.Context, q Request) (a Answer, err error) {
	in, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	program, err := os.Open(c.Program)
	if errors.Is(err, os.ErrNotExist) {
		return a, fmt.Errorf("the program %s is missing: it comes with hoy's package", c.Program)
	}
	if err != nil {
		return a, err
	}
	defer program.Close()
	p := exec.CommandContext(ctx, "/proc/self/fd/3") // its folder may be closed to nobody
	p.ExtraFiles = []*os.File{program}
	var out, said bytes.Buffer
	p.Stdin, p.Stdout, p.Stderr, p.Env, p.Dir = bytes.NewReader(in), &out, &said, []string{}, "/"
	if os.Geteuid() == 0 {
		p.SysProcAttr = &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: nobody, Gid: nobody},
			Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWPID,
		}
	}
	if err := p.Run(); err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return a, fmt.Errorf("%s: %w: %s", c.Program, err, line)
	}
	return a, json.Unmarshal(out.Bytes(), &a)
}
