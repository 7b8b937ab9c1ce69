package cli

import (
	"fmt"
	"io"

	"github.com/moby/moby/api/types/jsonstream"

	"hoy/client"
)

// lines prints progress as docker does where nobody watches: a line for each step, none
// for what grows.
func lines(w io.Writer) client.Progress {
	return func(m jsonstream.Message) error {
		if p := m.Progress; p != nil && (p.Current > 0 || p.Total > 0) {
			return nil
		}
		return printStep(w, &m)
	}
}

func printStep(w io.Writer, m *jsonstream.Message) (err error) {
	switch {
	case m.Stream != "":
		_, err = io.WriteString(w, m.Stream)
	case m.Status == "":
	case m.ID != "":
		_, err = fmt.Fprintf(w, "%s: %s\n", m.ID, m.Status)
	default:
		_, err = fmt.Fprintln(w, m.Status)
	}
	return err
}
