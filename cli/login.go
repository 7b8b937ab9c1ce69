package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moby/moby/api/types/registry"
	"github.com/spf13/cobra"

	"hoy/client"
	"hoy/client/credentials"
)

type loginFlags struct {
	user, password string
	stdin          bool
}

func newLogin(a *app) *cobra.Command {
	var o loginFlags
	cmd := &cobra.Command{Use: "login [OPTIONS] [SERVER]", Short: "Authenticate to a registry", Args: args(0, 1)}
	f := cmd.Flags()
	f.StringVarP(&o.user, "username", "u", "", "Name")
	f.StringVarP(&o.password, "password", "p", "", "Password or token; others see it while the command runs")
	f.BoolVar(&o.stdin, "password-stdin", false, "Read the password from standard input")
	cmd.RunE = a.do(func(ctx context.Context, c *client.Client, args []string) error {
		switch given := f.Changed; {
		case given("password") && given("password-stdin"):
			return errors.New("conflicting options: cannot specify both --password and --password-stdin")
		case given("password-stdin") && !given("username"):
			return errors.New("the --password-stdin option requires --username to be set")
		case given("username") && strings.TrimSpace(o.user) == "":
			return errors.New("username is empty")
		case given("password") && o.password == "":
			return errors.New("password is empty")
		}
		return a.login(ctx, c, strings.Join(args, ""), o)
	})
	return cmd
}

func (a *app) login(ctx context.Context, c *client.Client, server string, o loginFlags) error {
	if o.password != "" {
		fmt.Fprintln(a.Err, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
	}
	if o.stdin {
		b, err := io.ReadAll(a.In)
		if err != nil {
			return fmt.Errorf("cannot read the password: %w", err)
		}
		o.password = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	}
	server, err := loginServer(ctx, c, server)
	if err != nil {
		return err
	}
	store, err := a.credentialStore()
	if err != nil {
		return err
	}
	known := registry.AuthConfig{ServerAddress: server}
	if o.user == "" && o.password == "" {
		if known, err = store.Get(server); err != nil {
			fmt.Fprintln(a.Err, "WARNING:", err)
		}
		if done, err := a.loginKnown(ctx, c, store, known); done {
			return err
		}
	}
	auth := registry.AuthConfig{Username: strings.TrimSpace(o.user), Password: o.password, ServerAddress: server}
	if err := a.askLogin(&auth, known.Username); err != nil {
		return err
	}
	return a.loginWith(ctx, c, store, auth)
}

// loginServer is how docker's configuration names a server that the user named.
func loginServer(ctx context.Context, c *client.Client, server string) (string, error) {
	index, err := index(ctx, c)
	if err != nil {
		return "", err
	}
	n := imageName{domain: credentials.Host(server)}
	if name := n.server(index); name != "" {
		return name, nil
	}
	return "", errors.New("the engine has no default registry: name one, as in 'hoy login example.com'")
}

// loginKnown logs in by what is kept. It is not done if that is not enough.
func (a *app) loginKnown(ctx context.Context, c *client.Client, s *credentials.Store, known registry.AuthConfig) (done bool, err error) {
	known.IdentityToken = ""
	if known.Username == "" || known.Password == "" {
		return false, nil
	}
	fmt.Fprintf(a.Err, "Authenticating with existing credentials... [Username: %s]\nTo login with a different account, run 'hoy logout' followed by 'hoy login'\n", known.Username)
	err = a.loginWith(ctx, c, s, known)
	var gone *client.Unreachable
	if err == nil || errors.As(err, &gone) {
		return true, err
	}
	fmt.Fprintln(a.Err, "Login did not succeed, error:", err)
	return false, nil
}

// loginWith has the registry check credentials, and keeps them.
func (a *app) loginWith(ctx context.Context, c *client.Client, s *credentials.Store, auth registry.AuthConfig) error {
	answer, err := c.RegistryLogin(ctx, auth)
	if err != nil {
		return err
	}
	if answer.IdentityToken != "" {
		auth.Password, auth.IdentityToken = "", answer.IdentityToken
	}
	plain, err := s.Put(auth)
	if err != nil {
		return fmt.Errorf("cannot keep the credentials: %w", err)
	}
	if plain {
		fmt.Fprintf(a.Err, "\nWARNING! Your credentials are stored unencrypted in '%s'.\nName a credential helper there, as in \"credsStore\": \"pass\", to remove this warning.\n\n", s.File())
	}
	if answer.Status != "" {
		fmt.Fprintln(a.Out, answer.Status)
	}
	return nil
}

func newLogout(a *app) *cobra.Command {
	return &cobra.Command{Use: "logout [SERVER]", Short: "Log out from a registry", Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && args[0] != "" {
				return a.logout(args[0])
			}
			c, err := a.engine() // which knows the default one
			if err != nil {
				return err
			}
			server, err := loginServer(cmd.Context(), c, "")
			if err != nil {
				return err
			}
			return a.logout(server)
		}}
}

// logout forgets a server by every name under which docker may have kept it.
func (a *app) logout(server string) error {
	host := credentials.Host(server)
	names := []string{server, host, "http://" + host, "https://" + host, "https://index." + host + "/v1/"}
	if strings.HasPrefix(server, "https://index.") { // the default one, known by this name only
		names, host = names[:1], server
	}
	s, err := a.credentialStore()
	if err != nil {
		return err
	}
	fmt.Fprintln(a.Out, "Removing login credentials for", host)
	var failures []error
	for _, n := range names {
		if err := s.Erase(n); err != nil {
			failures = append(failures, err)
		}
	}
	if len(failures) == len(names) { // a program may say of any name that it has none
		return errors.Join(failures...)
	}
	return nil
}
