// Command wget stands in for busybox's, which crashes when it looks a name up in a program
// that Debian has linked statically. It knows what moby's tests use of it, and fails in
// busybox's words.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

func main() {
	// As busybox's, it takes -T3 for -T 3.
	for i, a := range os.Args {
		if len(a) > 2 && (a[:2] == "-T" || a[:2] == "-O") {
			os.Args[i] = a[:2] + "=" + a[2:]
		}
	}
	seconds := flag.Int("T", 900, "")
	output := flag.String("O", "-", "")
	flag.Bool("q", false, "")
	flag.Parse()
	if err := get(flag.Arg(0), *output, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "wget:", err)
		os.Exit(1)
	}
}

func get(address, output string, patience time.Duration) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	// patience is not for looking names up.
	if _, err := net.LookupHost(u.Hostname()); err != nil {
		return fmt.Errorf("bad address '%s'", u.Hostname())
	}
	r, err := (&http.Client{Timeout: patience}).Get(address)
	var slow net.Error
	switch {
	case errors.As(err, &slow) && slow.Timeout():
		return errors.New("download timed out")
	case err != nil:
		return fmt.Errorf("can't connect to remote host: %w", err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("server returned error: %s %s", r.Proto, r.Status)
	}
	w := os.Stdout
	if output != "-" {
		if w, err = os.Create(output); err != nil {
			return err
		}
		defer w.Close()
	}
	_, err = io.Copy(w, r.Body)
	return err
}
