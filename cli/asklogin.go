package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/moby/moby/api/types/registry"

	"hoy/cli/terminal"
)

// askLogin asks for the name and password that are missing.
func (a *app) askLogin(auth *registry.AuthConfig, usual string) (err error) {
	if auth.Username != "" && auth.Password != "" {
		return nil
	}
	if !isTerminal(a.In) {
		return errors.New("cannot perform an interactive login from a non TTY device: give -u NAME and --password-stdin")
	}
	if auth.Username == "" {
		prompt := "Username: "
		if usual != "" {
			prompt = fmt.Sprintf("Username (%s): ", usual)
		}
		fmt.Fprint(a.Out, prompt)
		if auth.Username, err = readLine(a.In); err != nil {
			return err
		}
		if auth.Username = strings.TrimSpace(auth.Username); auth.Username == "" {
			auth.Username = usual
		}
		if auth.Username == "" {
			return errors.New("cannot log in without a name")
		}
	}
	if auth.Password != "" {
		return nil
	}
	if auth.Password, err = a.askHidden("Password: "); err != nil {
		return err
	}
	if auth.Password == "" {
		return errors.New("cannot log in without a password")
	}
	return nil
}

// askHidden asks for a line that the terminal does not show. A signal that ends us puts
// the terminal right first.
func (a *app) askHidden(prompt string) (string, error) {
	restore, err := terminal.NoEcho(a.In)
	if err != nil {
		return "", err
	}
	defer restore()
	sig, stop := terminal.Fatal()
	defer stop()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case s := <-sig:
			restore()
			fmt.Fprintln(a.Out)
			os.Exit(terminal.ExitCode(s))
		case <-done:
		}
	}()
	fmt.Fprint(a.Out, prompt)
	defer fmt.Fprintln(a.Out)
	return readLine(a.In)
}

// readLine reads a line and nothing that follows it.
func readLine(in io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := in.Read(b)
		switch {
		case n > 0 && b[0] == '\n':
			return strings.TrimSuffix(string(line), "\r"), nil
		case n > 0:
			line = append(line, b[0])
		case errors.Is(err, io.EOF) && len(line) > 0:
			return string(line), nil
		case err != nil:
			return "", fmt.Errorf("cannot read what is typed: %w", err)
		}
	}
}
