// Package format prints objects by docker's --format templates: tables, lines, JSON.
package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"text/template"
)

// Heads are the column heads of a table, by the field's name. Its Label method gives
// the head of a column made of one label.
type Heads map[string]string

// Label is the head of {{.Label "com.example.some-thing"}}: some thing.
func (Heads) Label(name string) string {
	name = name[strings.LastIndexByte(name, '.')+1:]
	return strings.NewReplacer("-", " ", "_", " ").Replace(name)
}

// Parse compiles a template with docker's functions. What is printed on a terminal has no
// control characters but those of the template itself.
func Parse(text string, terminal bool) (*template.Template, error) {
	t, err := template.New("").Funcs(functions(terminal)).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("template parsing error: %w", err)
	}
	for _, d := range t.Templates() { // those that it defines, and itself
		showPlainly(d.Root)
	}
	return t, nil
}

func functions(terminal bool) template.FuncMap {
	shown := plain
	if terminal {
		shown = func(v any) any { return printable(plain(v)) }
	}
	return template.FuncMap{
		"json": func(v any) string {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			if e.Encode(v) != nil {
				return ""
			}
			return strings.TrimSpace(b.String())
		},
		"split":    strings.Split,
		"join":     join,
		"title":    title,
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"pad":      pad,
		"truncate": truncate,
		"plain":    plain,
		"shown":    shown,
	}
}

// join also takes what is no []string but a slice of something that prints.
func join(list any, sep string) string {
	if s, ok := list.([]string); ok {
		return strings.Join(s, sep)
	}
	v := reflect.ValueOf(list)
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(list)
	}
	var parts []string
	for i := range v.Len() {
		parts = append(parts, fmt.Sprint(v.Index(i).Interface()))
	}
	return strings.Join(parts, sep)
}

func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func pad(s string, before, after int) string {
	if s == "" || before < 0 || after < 0 {
		return s
	}
	return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
}

func truncate(s string, n int) string {
	if n < 0 || len(s) < n {
		return s
	}
	return s[:n]
}

// Standard are the formats of a list that have names.
type Standard struct {
	Table string // the columns of "table"
	Raw   string // "raw", a line for each field; "": it is a text as any other
	Heads Heads
}

// Printer prints rows by one format.
type Printer struct {
	out   io.Writer
	tmpl  *template.Template
	heads Heads
	rows  *bytes.Buffer // of a table: its heads come first, and its columns are as wide as all rows want; nil: no table
}

// New returns a printer for a user's format: "" or "table" is the standard table,
// "table …" another one, "raw" the standard lines, "json" one JSON object a line, anything
// else a template. terminal: it prints on one.
func New(out io.Writer, userFormat string, std Standard, terminal bool) (*Printer, error) {
	text := userFormat
	columns, isTable := strings.CutPrefix(userFormat, "table")
	switch {
	case userFormat == "" || userFormat == "table":
		text, isTable = std.Table, true
	case userFormat == "raw" && std.Raw != "":
		text = std.Raw
	case isTable:
		text = strings.Trim(columns, " ")
	}
	p, err := Lines(out, text, terminal)
	if err == nil && isTable {
		p.heads, p.rows = std.Heads, new(bytes.Buffer)
	}
	return p, err
}

// Lines returns a printer for what has no table: "json" is one JSON object a line,
// anything else a template.
func Lines(out io.Writer, text string, terminal bool) (*Printer, error) {
	if text == "json" {
		text = "{{json .}}"
	}
	t, err := Parse(unescape(text), terminal)
	return &Printer{out: out, tmpl: t}, err
}

// unescape lets a shell's single-quoted format hold tabs and ends of line.
func unescape(s string) string { return strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(s) }

// Row prints one object, or puts it into the table. Of a row given as a pointer to a
// struct, {{json .}} shows the exported fields.
func (p *Printer) Row(v any) error {
	var b bytes.Buffer
	if err := p.tmpl.Execute(&b, v); err != nil {
		return fmt.Errorf("template parsing error: %w", err)
	}
	b.WriteByte('\n')
	if p.rows != nil {
		p.rows.Write(b.Bytes())
		return nil
	}
	_, err := p.out.Write(b.Bytes())
	return err
}

// Flush prints a table.
func (p *Printer) Flush() error {
	if p.rows == nil {
		return nil
	}
	w := tabwriter.NewWriter(p.out, 10, 1, 3, ' ', 0)
	p.tmpl.Execute(w, p.heads) // a template may ask of a row what a head is not
	io.WriteString(w, "\n")
	w.Write(p.rows.Bytes())
	return w.Flush()
}
