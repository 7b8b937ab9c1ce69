package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Object is one object to inspect: typed, and as the engine wrote it.
type Object struct {
	Typed any
	Raw   json.RawMessage
}

// Inspect prints objects: a JSON array, or one line by the template for each. A
// template that the typed object does not have the fields for sees the engine's own
// words, as docker does.
func Inspect(out io.Writer, text string, objects []Object) error {
	if text == "" {
		return inspectArray(out, objects)
	}
	if text == "json" {
		text = "{{json .}}"
	}
	t, err := Parse(unescape(text))
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

func inspectArray(out io.Writer, objects []Object) error {
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
	if err := json.Indent(&b, raw.Bytes(), "", "    "); err != nil {
		return fmt.Errorf("unable to read inspect data: %w", err)
	}
	b.WriteByte('\n')
	// The engine's JSON escapes & < >, which people read more easily as they are.
	s := strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(b.String())
	_, err := io.WriteString(out, s)
	return err
}
