package runtime

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"hoy/linux/mount"
	"hoy/linux/spawn"
)

// ExecError says that the program of a container or an exec could not be executed.
type ExecError struct {
	Program string
	Reason  string
	Code    int // 126: found but not executable; 127: not found
	Err     error
}

func (e *ExecError) Error() string { return fmt.Sprintf("exec: %q: %s", e.Program, e.Reason) }
func (e *ExecError) Unwrap() error { return e.Err }

const notFound, notExecutable = 127, 126

// explainer knows enough of a process to say why it could not be started.
type explainer struct {
	process *process // nil: a program of the host
	root    *os.File // the container's root; nil: that of pid
	pid     int
}

// Explain puts a failed spawn into words: the step, the object and the system call.
// When it was the program that could not be executed, the error is an *ExecError. It
// must be called before Close.
func (p *Prepared) Explain(err error) error {
	var step *spawn.StepError
	if !errors.As(err, &step) {
		return err
	}
	f := &p.failure
	if f.process == nil {
		return p.Plan.Explain(step)
	}
	switch p.Plan.Syscall(step) {
	case unix.SYS_EXECVE:
		if !step.Killed {
			return f.explainExec(step.Errno)
		}
	case unix.SYS_CLONE:
		if f.process.filter != nil && !step.Killed {
			return fmt.Errorf("%w (the seccomp profile of a container whose processes may trace what is started in it must allow clone)", p.Plan.Explain(step))
		}
	}
	return p.Plan.Explain(step)
}

// explainExec looks at the files that execve(2) was given. What it sees may have
// changed since; the kernel's answer stands.
func (f *explainer) explainExec(errno unix.Errno) error {
	e := &ExecError{Program: f.process.argv[0], Reason: errno.Error(), Code: notExecutable, Err: errno}
	if errno == unix.ENOENT || errno == unix.ENOTDIR {
		e.Code = notFound
	}
	root := f.root
	if root == nil {
		var err error
		if root, err = rootOf(f.pid); err != nil {
			return e
		}
		defer root.Close()
	}
	for _, program := range f.process.programs {
		file, err := mount.OpenIn(root, program, unix.O_PATH)
		if err != nil {
			continue
		}
		defer file.Close()
		f.describe(e, root, file, program)
		return e
	}
	f.missing(e, errno)
	return e
}

// missing is for a program of which no candidate exists.
func (f *explainer) missing(e *ExecError, errno unix.Errno) {
	switch {
	case errno != unix.ENOENT && errno != unix.ENOTDIR:
		// somewhere below a mount, or gone since
	case strings.Contains(e.Program, "/"):
		e.Reason = fmt.Sprintf("stat %s: %v", e.Program, errno)
	default:
		e.Reason = "executable file not found in $PATH"
	}
}

// describe is for a program that exists and cannot be executed.
func (f *explainer) describe(e *ExecError, root, file *os.File, program string) {
	var st unix.Stat_t
	if unix.Fstat(int(file.Fd()), &st) != nil {
		return
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		e.Reason, e.Code = "is a directory", notExecutable
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		e.Reason, e.Code = "is not a regular file", notExecutable
	case errnoIs(e, unix.EACCES) || st.Mode&0o111 == 0:
		e.Reason, e.Code = "permission denied", notExecutable
	case errnoIs(e, unix.ENOENT):
		if i := interpreter(head(root, program)); i != "" {
			e.Reason = fmt.Sprintf("no such file or directory: its interpreter %s is not in the image", i)
		}
	case errnoIs(e, unix.ENOEXEC):
		e.Reason = "exec format error: " + format(head(root, program))
	}
}

func errnoIs(e *ExecError, errno unix.Errno) bool { return errors.Is(e.Err, errno) }

// headSize is how much of a program is read to see what it is: an ELF file's headers
// and the name of its interpreter are at its beginning.
const headSize = 4096

func head(root *os.File, program string) []byte {
	f, _, err := mount.OpenRegular(root, program, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, headSize))
	return b
}

// interpreter returns the program that a script or an ELF file asks for.
func interpreter(b []byte) string {
	if rest, ok := bytes.CutPrefix(b, []byte("#!")); ok {
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		if fields := bytes.Fields(line); len(fields) > 0 {
			return string(fields[0]) + carriageReturn(line)
		}
		return ""
	}
	return elfInterpreter(b)
}

// carriageReturn points out the commonest reason why a script's interpreter is missing.
func carriageReturn(line []byte) string {
	if bytes.HasSuffix(line, []byte("\r")) {
		return " (the line ends in a carriage return, as on Windows)"
	}
	return ""
}

// format says what a file is that the kernel does not know how to execute.
func format(b []byte) string {
	switch {
	case len(b) == 0:
		return "the file is empty"
	case bytes.HasPrefix(b, []byte("MZ")):
		return "the file is a program for Windows"
	case bytes.HasPrefix(b, []byte("\xcf\xfa\xed\xfe")), bytes.HasPrefix(b, []byte("\xca\xfe\xba\xbe")):
		return "the file is a program for macOS"
	case bytes.HasPrefix(b, []byte(elf.ELFMAG)) && len(b) >= 20:
		order := binaryOrder(b)
		return fmt.Sprintf("the file is a program for %s, this machine is %s", machineName(elf.Machine(order.Uint16(b[18:]))), machineName(ownMachine))
	case bytes.IndexByte(b, 0) < 0:
		return "the file is a script without a first line that names its interpreter (#!)"
	}
	return "the file is not a program"
}
