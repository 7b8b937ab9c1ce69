// Command init is what tests run inside containers: one static program whose
// sub-commands report what a container is made of, so that tests need no image.
//
//	init COMMAND [ARG]... [, COMMAND [ARG]...]...
//
// Commands are separated by a comma of its own and run in order; each prints to
// stdout, what fails prints its error and goes on, "exit N" ends with N.
package main

import (
	"fmt"
	"os"
	"slices"
)

// command does one thing with its arguments.
type command func(args []string) error

func main() {
	for _, words := range split(os.Args[1:]) {
		run, ok := commands()[words[0]]
		if !ok {
			fmt.Fprintf(os.Stderr, "init: no command %q\n", words[0])
			os.Exit(2)
		}
		if err := run(words[1:]); err != nil {
			fmt.Printf("%s: %v\n", words[0], err)
		}
	}
}

func split(args []string) [][]string {
	var out [][]string
	for len(args) > 0 {
		i := slices.Index(args, ",")
		if i < 0 {
			return append(out, args)
		}
		if i > 0 {
			out = append(out, args[:i])
		}
		args = args[i+1:]
	}
	return out
}

func commands() map[string]command {
	return map[string]command{
		// what is
		"args": printArgs, "env": printEnv, "cwd": printCwd, "hostname": printHostname, "ids": printIDs,
		"status": printStatus, "fds": printDescriptors, "limits": printLimits, "umask": printUmask,
		"cat": printFiles, "ls": list, "stat": printStat, "readlink": printLink, "mounts": printMounts,
		"links": printInterfaces, "ns": printNamespaces, "pids": printPids, "tty": printTerminal, "sigmask": printSignals,
		// what is allowed
		"mount": tryMount, "umount": tryUnmount, "reboot": tryReboot, "kexec": tryKexec, "module": tryModule, "keyctl": tryKeyctl,
		"unshare": tryUnshare, "mknod": tryMknod, "ptrace": tryPtrace, "setuid": setUser, "chroot": tryChroot,
		"open": tryOpen, "write": writeFile, "mkdir": makeDir, "ping": tryRawSocket,
		// load
		"alloc": allocate, "fork": forkMany, "burn": burn, "sleep": sleep, "hold": hold,
		// process
		"echo": echo, "stderr": echoStderr, "copy": copyStdin, "exit": exit, "kill": killSelf, "trap": trap, "count": count, "exec": execute,
	}
}
