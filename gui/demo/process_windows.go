package demo

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// own keeps the server, a program for the console, from opening a window of its own. A server whose app was killed
// stays until the session ends.
func own(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NO_WINDOW}
}

// end is all that Windows has for a process without a window. The server's files are whole at any moment.
func end(p *os.Process) error { return p.Kill() }
