package runtime

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestExecErrors shows what is said when the program cannot be executed.
func TestExecErrors(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.file("bin/plain", "#!/bin/init args\n", 0o644)
		b.file("bin/lost", "#!/bin/nothing -x\necho\n", 0o755)
		b.file("bin/dos", "#!/bin/init\r\necho\r\n", 0o755)
		b.file("bin/text", "echo hello\n", 0o755)
		b.file("bin/empty", "", 0o755)
		b.file("bin/data", "\x01\x00\x02", 0o755)
		b.file("bin/windows", "MZ\x90\x00\x03", 0o755)
		b.file("bin/arm", elfHeader(183), 0o755)
		b.file("bin/s390", "\x7fELF\x02\x02\x01"+string(make([]byte, 9))+"\x00\x02\x00\x16"+string(make([]byte, 44)), 0o755)
		b.file("usr/bin/shadowed", "", 0o644)
		b.file("bin/dir/x", "", 0o644)
		for _, tc := range []struct {
			program string
			code    int
			want    string
		}{
			{"nothing", 127, `exec: "nothing": executable file not found in $PATH`},
			{"/bin/nothing", 127, `exec: "/bin/nothing": stat /bin/nothing: no such file or directory`},
			{"./nothing", 127, `exec: "./nothing": stat ./nothing: no such file or directory`},
			{"/bin/init/x", 127, `exec: "/bin/init/x": stat /bin/init/x: not a directory`},
			{"plain", 126, `exec: "plain": permission denied`},
			{"/bin/plain", 126, `exec: "/bin/plain": permission denied`},
			{"shadowed", 126, `exec: "shadowed": permission denied`},
			{"/bin", 126, `exec: "/bin": is a directory`},
			{"dir", 126, `exec: "dir": is a directory`},
			{"lost", 127, `exec: "lost": no such file or directory: its interpreter /bin/nothing is not in the image`},
			{"dos", 127, "exec: \"dos\": no such file or directory: its interpreter /bin/init (the line ends in a carriage return, as on Windows) is not in the image"},
			{"text", 126, `exec: "text": exec format error: the file is a script without a first line that names its interpreter (#!)`},
			{"empty", 126, `exec: "empty": exec format error: the file is empty`},
			{"data", 126, `exec: "data": exec format error: the file is not a program`},
			{"windows", 126, `exec: "windows": exec format error: the file is a program for Windows`},
			{"arm", 126, `exec: "arm": exec format error: the file is a program for arm64, this machine is ` + machineName(ownMachine)},
			{"s390", 126, `exec: "s390": exec format error: the file is a program for s390x, this machine is ` + machineName(ownMachine)},
		} {
			r, err := b.try("!" + tc.program)
			if err == nil {
				r.kill()
				t.Errorf("%s was started", tc.program)
				continue
			}
			var e *ExecError
			if !errors.As(err, &e) || e.Code != tc.code || err.Error() != tc.want {
				t.Errorf("%s: got\n%v\nwant\n%s (%d)", tc.program, err, tc.want, tc.code)
			}
		}
	})
}

// elfHeader is the beginning of a 64-bit little-endian program.
func elfHeader(machine byte) string {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	b[16], b[18], b[20] = 2, machine, 1
	return string(b)
}

func TestPathSearchGoesOn(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.file("usr/bin/init", "not executable", 0o644)
		b.file("one", "", 0o644)
		b.spec.Process.Env = []string{"PATH=/one:/none::relative:/usr/bin:/bin"}
		b.expect("init args", "args")
	})
}

func TestNoPath(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Process.Env = nil
		b.fails(`exec: "init": executable file not found in $PATH`, "args")
	})
}

func TestLongArguments(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		long := strings.Repeat("x", 100<<10)
		b.expect(long, "echo", long)
		b.fails(`exec: "init": argument list too long`, "echo", strings.Repeat("x", 200<<10))
	})
}

func TestExplainNamesStepObjectAndSyscall(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.spec.Hostname = strings.Repeat("h", 65)
		b.fails("cannot set host name: sethostname: invalid argument", "ids")
	})
}

func FuzzInterpreter(f *testing.F) {
	f.Add([]byte("#!/bin/sh -e\n"))
	f.Add([]byte("#!\r\n"))
	f.Add([]byte(elfHeader(62)))
	f.Fuzz(func(t *testing.T, b []byte) {
		interpreter(b)
		if format(b) == "" {
			t.Error("no description")
		}
	})
}

func TestStdioNeedsNoTerminal(t *testing.T) {
	inBothModes(t, func(t *testing.T, b *box) {
		b.c.Stdio = false
		r := b.start("write", "/dev/stdout", "lost")
		if out, status := r.wait(); out != "" || status != unix.WaitStatus(0) {
			t.Errorf("printed %q, status %#x", out, status)
		}
	})
}
