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

// Parse compiles a template with docker's functions.
func Parse(text string) (*template.Template, error) {
	t, err := template.New("").Funcs(functions()).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("template parsing error: %w", err)
	}
	for _, d := range t.Templates() { // those that it defines, and itself
		showPlainly(d.Root)
	}
	return t, nil
}

func functions() template.FuncMap {
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

// Printer prints rows by one format.
type Printer struct {
	out  io.Writer
	tmpl *template.Template
	tabs *tabwriter.Writer // nil unless it is a table
}

// New returns a printer for a user's format: "" or "table" is the standard table,
// "table …" another one, "json" one JSON object a line, anything else a template.
// A table starts with the heads.
func New(out io.Writer, userFormat, table string, heads Heads) (*Printer, error) {
	text, isTable := userFormat, false
	switch {
	case userFormat == "" || userFormat == "table":
		text, isTable = table, true
	case userFormat == "json":
		text = "{{json .}}"
	case strings.HasPrefix(userFormat, "table "):
		text, isTable = strings.TrimSpace(strings.TrimPrefix(userFormat, "table ")), true
	}
	text = unescape(text)
	t, err := Parse(text)
	if err != nil {
		return nil, err
	}
	p := &Printer{out: out, tmpl: t}
	if !isTable {
		return p, nil
	}
	p.tabs = tabwriter.NewWriter(out, 10, 1, 3, ' ', 0)
	if err := t.Execute(p.tabs, heads); err != nil {
		return nil, fmt.Errorf("template parsing error: %w", err)
	}
	_, err = io.WriteString(p.tabs, "\n")
	return p, err
}

// unescape lets a shell's single-quoted format hold tabs and ends of line.
func unescape(s string) string { return strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(s) }

// Row prints one object. Of a row given as a pointer to a struct, {{json .}} shows
// the exported fields.
func (p *Printer) Row(v any) error {
	w := p.out
	if p.tabs != nil {
		w = p.tabs
	}
	var b bytes.Buffer
	if err := p.tmpl.Execute(&b, v); err != nil {
		return fmt.Errorf("template parsing error: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// Flush ends a table.
func (p *Printer) Flush() error {
	if p.tabs == nil {
		return nil
	}
	return p.tabs.Flush()
}
