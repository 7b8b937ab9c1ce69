package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"hoy/cli/options"
	"hoy/cli/tarball"
	"hoy/lib/buildlog"
)

// built does what is left when a build has succeeded.
func (a *app) built(o *options.Build, r *buildlog.Result) error {
	if o.MetadataFile != "" {
		if err := writeMetadata(o.MetadataFile, r.Attrs); err != nil {
			return err
		}
	}
	if o.Call.Method != "" {
		return a.answered(o.Call, r)
	}
	id := imageID(r)
	if o.IIDFile != "" {
		if id == "" {
			return fmt.Errorf("cannot write %s: the outputs make no image that has an id", o.IIDFile)
		}
		if err := os.WriteFile(o.IIDFile, []byte(id), 0o644); err != nil {
			return fmt.Errorf("writing image ID file: %w", err)
		}
	}
	if (o.Quiet || o.Progress == "quiet") && id != "" {
		fmt.Fprintln(a.Out, id)
	}
	return nil
}

// imageID is the id of what was made, "" if it is no image.
func imageID(r *buildlog.Result) string {
	for _, id := range []string{r.ImageID, r.Attrs["containerimage.digest"], r.Attrs["containerimage.config.digest"]} {
		if id != "" {
			return id
		}
	}
	return ""
}

// answered prints what the Dockerfile was asked. Warnings are a failure, as with docker.
func (a *app) answered(c options.Call, r *buildlog.Result) error {
	switch {
	case c.JSON:
		fmt.Fprintln(a.Out, string(r.Data))
	case c.Method != "lint":
		fmt.Fprint(a.Out, r.Text)
	}
	if c.Method != "lint" || c.IgnoreStatus {
		return nil
	}
	var found struct{ Warnings []json.RawMessage }
	if err := json.Unmarshal(r.Data, &found); err != nil {
		return fmt.Errorf("cannot read the engine's answer: %w", err)
	}
	if len(found.Warnings) > 0 {
		return &exit{code: codeFailure}
	}
	return nil
}

// writeMetadata writes what exporters tell, with JSON in base64 as the JSON it is.
func writeMetadata(name string, attrs map[string]string) error {
	m := map[string]any{}
	for k, v := range attrs {
		m[k] = v
		b, err := base64.StdEncoding.DecodeString(v)
		if err == nil && len(b) > 0 && (b[0] == '{' || b[0] == '[') && json.Valid(b) {
			m[k] = json.RawMessage(b)
		}
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = os.WriteFile(name, b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot write the metadata: %w", err)
	}
	return nil
}

// buildOutputs take the archives that the engine sends, by their places in the list.
type buildOutputs struct {
	list []io.WriteCloser // nil: the engine sends none
	done []func(error) error
}

// openOutputs makes ready for the archives. A file is whole or not there.
func (a *app) openOutputs(list []options.Output) (*buildOutputs, error) {
	w := &buildOutputs{}
	for _, o := range list {
		out, done, err := a.openOutput(o)
		if err != nil {
			w.close(err)
			return nil, err
		}
		w.list, w.done = append(w.list, out), append(w.done, done)
	}
	return w, nil
}

func (a *app) openOutput(o options.Output) (io.WriteCloser, func(error) error, error) {
	switch {
	case o.Folder != "":
		return a.openFolder(o.Folder)
	case o.File == "-":
		if isTerminal(a.Out) {
			return nil, nil, fmt.Errorf("dest file is required for %s exporter. refusing to write to console", o.Type)
		}
		return nopCloser{a.Out}, func(err error) error { return err }, nil
	case o.File != "":
		return openPart(o.File)
	}
	return nil, func(err error) error { return err }, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// openFolder unpacks an archive into a folder while it comes.
func (a *app) openFolder(dir string) (io.WriteCloser, func(error) error, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("invalid destination directory: %w", err)
	}
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := tarball.Unpack(dir, r, func(name string) string { return name }, func(text string) { fmt.Fprintln(a.Err, "WARNING:", text) })
		if err == nil {
			_, err = io.Copy(io.Discard, r) // what pads the archive
		}
		r.CloseWithError(err)
		ended <- err
	}()
	return w, func(err error) error {
		w.CloseWithError(err)
		if e := <-ended; err == nil {
			err = e
		}
		return err
	}, nil
}

// openPart writes beside the file, and puts that in its place at the end.
func openPart(name string) (io.WriteCloser, func(error) error, error) {
	if err := checkOutput(name); err != nil {
		return nil, nil, err
	}
	if fi, err := os.Stat(name); err == nil && !fi.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0) // a FIFO: written as it comes
		return f, func(e error) error { return errors.Join(e, f.Close()) }, err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".part")
	if err != nil {
		return nil, nil, err
	}
	return f, func(err error) error {
		if e := f.Close(); err == nil {
			err = e
		}
		if err == nil {
			err = os.Chmod(f.Name(), 0o644)
		}
		if err == nil {
			err = os.Rename(f.Name(), name)
		}
		if err != nil {
			os.Remove(f.Name())
		}
		return err
	}, nil
}

// take writes a piece of an archive.
func (w *buildOutputs) take(e *buildlog.Event) error {
	c := e.Chunk
	if c == nil {
		return nil
	}
	if c.Output < 0 || c.Output >= len(w.list) || w.list[c.Output] == nil {
		return fmt.Errorf("the engine sends an archive of output %d, which has none", c.Output)
	}
	_, err := w.list[c.Output].Write(c.Data)
	return err
}

// close ends all of them: with an error what is not whole goes away.
func (w *buildOutputs) close(err error) error {
	failure := err
	for _, done := range w.done {
		if e := done(failure); e != nil && err == nil {
			err = e
		}
	}
	return err
}
