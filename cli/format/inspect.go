package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"hoy/cli/terminal"
)

// Object is one object to inspect: typed, and as the engine wrote it.
type Object struct {
	Typed any
	Raw   json.RawMessage
}

// Inspect prints objects: a JSON array, or one line by the template for each. A
// template that the typed object does not have the fields for sees the engine's own
// words, as docker does. onTerminal: it prints on one.
func Inspect(out io.Writer, text string, objects []Object, onTerminal bool) error {
	if text == "" || text == "json" {
		return inspectArray(out, objects, text == "", onTerminal)
	}
	t, err := Parse(unescape(text), onTerminal)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, o := range objects {
		mark := b.Len()
		typed := t.Execute(&b, o.Typed)
		if typed != nil {
			b.Truncate(mark)
			var loose any
			d := json.NewDecoder(bytes.NewReader(o.Raw))
			d.UseNumber()
			if err := d.Decode(&loose); err != nil {
				return fmt.Errorf("unable to read inspect data: %w", err)
			}
			strict := t.Option("missingkey=error")
			if err := strict.Execute(&b, loose); err != nil {
				return fmt.Errorf("template parsing error: %w", typed)
			}
		}
		b.WriteByte('\n')
	}
	_, err = out.Write(b.Bytes())
	return err
}

// inspectArray prints all objects as one array, indented or on one line.
func inspectArray(out io.Writer, objects []Object, indented, onTerminal bool) error {
	if len(objects) == 0 {
		_, err := io.WriteString(out, "[]\n")
		return err
	}
	var raw bytes.Buffer
	raw.WriteByte('[')
	for i, o := range objects {
		if i > 0 {
			raw.WriteByte(',')
		}
		raw.Write(bytes.TrimSpace(o.Raw))
	}
	raw.WriteByte(']')
	var b bytes.Buffer
	var err error
	if indented {
		err = json.Indent(&b, raw.Bytes(), "", "    ")
	} else {
		err = json.Compact(&b, raw.Bytes())
	}
	if err != nil {
		return fmt.Errorf("unable to read inspect data: %w", err)
	}
	b.WriteByte('\n')
	s := b.String()
	if indented { // the engine's JSON escapes & < >, which people read more easily as they are
		s = strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(s)
	}
	if onTerminal {
		s = terminal.Printable(s)
	}
	_, err = io.WriteString(out, s)
	return err
}
