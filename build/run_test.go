package build

import (
	"strings"
	"testing"
)

// TestRunsSteps has the steps of a Dockerfile do what containers of docker's can do.
func TestRunsSteps(t *testing.T) {
	inBothModes(t, func(t *testing.T, h *bench) {
		h.busybox()
		got, err := h.build(t.Context(), `
FROM busybox AS first
WORKDIR /made
ENV GREETING=hello
RUN echo $GREETING > out && id -u && pwd && hostname
RUN ls -ln /made/out
USER app
RUN id -u && id -g
RUN echo to-the-error >&2
FROM busybox
COPY --from=first /made/out /out
RUN cat /out && ls -a /etc && cat /proc/self/status | grep -e CapEff -e Seccomp:
`, nil)
		t.Logf("%s", got.log)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"0\n/made\nbuildkitsandbox\n", "hello", "1000\n1000\n", "to-the-error", "CapEff:\t00000000a80425fb", "Seccomp:\t2"} {
			if !strings.Contains(got.log, want) {
				t.Errorf("the steps did not print %q", want)
			}
		}
	})
}
