package image

import (
	"encoding/json"
	"strings"
	"testing"
)

var changeTable = []struct {
	lines []string
	want  string // JSON of the configuration, or the error's text
}{
	{[]string{`CMD ["sh","-c","x y"]`}, `{"Cmd":["sh","-c","x y"]}`},
	{[]string{`cmd echo $HOME`}, `{"Cmd":["/bin/sh","-c","echo $HOME"]}`},
	{[]string{`ENTRYPOINT ["/init"]`, `CMD []`}, `{"Entrypoint":["/init"]}`},
	{[]string{`ENV A=1 B="two words" C=a\ b`}, `{"Env":["A=1","B=two words","C=a b"]}`},
	{[]string{`ENV OLD the rest of it`}, `{"Env":["OLD=the rest of it"]}`},
	{[]string{`ENV A=1`, `ENV A=2 B=${A}x C='$A' D=${Z:-none}`}, `{"Env":["A=2","B=1x","C=$A","D=none"]}`},
	{[]string{`EXPOSE 80 53/udp 8000-8001`}, `{"ExposedPorts":{"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{}}}`},
	{[]string{`LABEL a=b "c d"="e f"`}, `{"Labels":{"a":"b","c d":"e f"}}`},
	{[]string{`USER app:app`, `STOPSIGNAL SIGQUIT`}, `{"User":"app:app","StopSignal":"SIGQUIT"}`},
	{[]string{`WORKDIR /a`, `WORKDIR b/../c`}, `{"WorkingDir":"/a/c"}`},
	{[]string{`VOLUME /a /b`, `VOLUME ["/c d"]`}, `{"Volumes":{"/a":{},"/b":{},"/c d":{}}}`},
	{[]string{`ONBUILD RUN make`}, `{"OnBuild":["RUN make"]}`},
	{[]string{`HEALTHCHECK --interval=5s --retries=3 CMD curl x`}, `{"Healthcheck":{"Test":["CMD-SHELL","curl x"],"Interval":5000000000,"Retries":3}}`},
	{[]string{`HEALTHCHECK NONE`}, `{"Healthcheck":{"Test":["NONE"]}}`},
	{[]string{`# a comment`, `USER a`}, `{"User":"a"}`},
	{[]string{`# a comment`, ``}, `file with no instructions`},
	{[]string{"ENV A=1 \\\nB=2\n\nLABEL x=y", "USER \\", "a"}, `{"Env":["A=1","B=2"],"Labels":{"x":"y"},"User":"a"}`},
	{[]string{`CMD ["a"]`, `ENTRYPOINT ["/init"]`}, `{"Cmd":["a"],"Entrypoint":["/init"]}`},
	{[]string{`FROM scratch`}, `FROM is not a valid change command`},
	{[]string{`CMD`}, `CMD requires at least one argument`},
	{[]string{`ENV A`}, `must have two arguments`},
	{[]string{`ENV A="open`}, `double-quote`},
	{[]string{`LABEL =x`}, `can not be blank`},
	{[]string{`EXPOSE 99999`}, `invalid containerPort: 99999`},
	{[]string{`EXPOSE 1/xyz`}, `unknown protocol`},
	{[]string{`USER a b`}, `exactly one argument`},
	{[]string{`STOPSIGNAL SIGNOPE`}, `invalid signal: SIGNOPE`},
	{[]string{`ONBUILD FROM x`}, `isn't allowed`},
	{[]string{`HEALTHCHECK --often CMD x`}, `unknown flag`},
	{[]string{`HEALTHCHECK`}, `requires at least one`},
}

func TestChanges(t *testing.T) {
	for _, tc := range changeTable {
		t.Run(strings.Join(tc.lines, "; "), func(t *testing.T) {
			c, err := Changes(tc.lines)
			if err != nil {
				if !strings.Contains(err.Error(), tc.want) || strings.HasPrefix(tc.want, "{") {
					t.Errorf("%v; want %s", err, tc.want)
				}
				return
			}
			var got, want any
			b, _ := json.Marshal(c)
			json.Unmarshal(b, &got)
			if err := json.Unmarshal([]byte(tc.want), &want); err != nil {
				t.Fatalf("%s; want the error %q", b, tc.want)
			}
			drop(got)
			drop(want)
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want)
			if string(g) != string(w) {
				t.Errorf("%s; want %s", g, w)
			}
		})
	}
}

// drop removes empty fields, which the type writes out.
func drop(v any) {
	m, _ := v.(map[string]any)
	for k, e := range m {
		if s, ok := e.(string); e == nil || ok && s == "" {
			delete(m, k)
		}
	}
}
