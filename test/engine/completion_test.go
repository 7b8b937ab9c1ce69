package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hoy/test/rootful"
)

// TestBashCompletion: the script for bash offers what a real engine has.
func TestBashCompletion(t *testing.T) {
	rootful.Check(t)
	e := Start(t)
	e.Hoy("run", "-d", "--name", "webserver", "hoy/toolbox", "sleep", "100")
	e.Hoy("volume", "create", "webdata")
	for line, want := range map[string]string{
		"hoy stop we":           "webserver",
		"hoy volume rm w":       "webdata",
		"hoy container inspect": "inspect",
		"hoy run --rm hoy/tool": "hoy/toolbox hoy/toolbox:latest",
		"hoy run --pul":         "--pull",
	} {
		words := strings.Fields(line)
		// What readline and the package bash-completion do when the tabulator key is
		// pressed at the end of the line.
		c := exec.Command("bash", "-c", `source <(hoy completion bash)
			_init_completion() { words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]}; }
			COMP_LINE=$0 COMP_POINT=${#0} COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
			__start_hoy 2>/dev/null; echo $(printf '%s\n' "${COMPREPLY[@]}" | sed 's/ *(.*//' | sort)`, line)
		c.Args = append(c.Args, words...)
		c.Env = append(os.Environ(), "HOY_HOST="+e.Host, "PATH="+filepath.Dir(Bin(t, "hoy"))+":"+os.Getenv("PATH"))
		out, err := c.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %q, want %q (%v)", line, got, want, err)
		}
	}
}
