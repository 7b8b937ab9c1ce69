// Package initproc is the first process of a container that asks for one with --init:
// it runs the program as its child, hands on the signals it gets, and reaps whatever
// becomes its child, as tini does.
package initproc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Name is the last part of argv[0] by which a program knows that it shall be this.
const Name = "docker-init"

// notHandedOn are signals about this process itself. The Go runtime sends itself
// SIGURG all the time.
var notHandedOn = [...]os.Signal{
	unix.SIGCHLD, unix.SIGURG, unix.SIGTTIN, unix.SIGTTOU,
	unix.SIGFPE, unix.SIGILL, unix.SIGSEGV, unix.SIGBUS, unix.SIGABRT, unix.SIGTRAP, unix.SIGSYS,
}

// Main is docker-init: docker-init [--] PROGRAM [ARGUMENT...]. args are without the
// program's name. It returns the program's exit code, 128+n when signal n ended it.
func Main(args []string) int {
	runtime.GOMAXPROCS(1) // there is nothing to do at once
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: docker-init [--] PROGRAM [ARGUMENT...]")
		return 1
	}
	signals := make(chan os.Signal, 64) // before the child is there: it may end at once
	signal.Notify(signals)
	child, err := start(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "docker-init: cannot execute %s: %v\n", args[0], err)
		return code(err)
	}
	for s := range signals {
		if s != unix.SIGCHLD {
			handOn(child, s)
		} else if status, ended := reap(child); ended {
			return status
		}
	}
	return 0
}

// start runs the program in a process group of its own, which is the terminal's
// foreground one if there is a terminal.
func start(args []string) (pid int, err error) {
	path, err := exec.LookPath(args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) { // who says "." in PATH means it
		return 0, err
	}
	group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	own := unix.Getpgrp()
	return syscall.ForkExec(path, args, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true, Foreground: err == nil && group == own},
	})
}

// code is what a shell gives for a program that cannot be executed.
func code(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return 127
	}
	return 126
}

func handOn(child int, s os.Signal) {
	if n, ok := s.(syscall.Signal); ok && !slices.Contains(notHandedOn[:], s) {
		unix.Kill(child, n) // it may have ended
	}
}

// reap collects every process that has ended, and says how child did if it is one.
func reap(child int) (status int, ended bool) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || pid == 0:
			return status, ended
		case pid == child && ws.Signaled():
			status, ended = 128+int(ws.Signal()), true
		case pid == child:
			status, ended = ws.ExitStatus(), true
		}
	}
}
