package main

import (
	"errors"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/platform/svc/manage"
)

func newService(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Install, start and stop the service, aditd",
		Long: `Has the system's service manager (systemd, launchd, Windows' service control manager)
install, start and stop aditd, the program beside this one. Packages do that by themselves.

All but status needs root, or an administrator.`,
		Args: cobra.ArbitraryArgs, // so that RunE words the error
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return usage(cmd, "unknown command %q", args[0])
		},
	}
	cmd.AddCommand(newServiceInstall(a), newServiceUninstall(a), newServiceStart(a), newServiceStop(a), newServiceStatus(a))
	return cmd
}

// manager is the system's; done ends its use.
func manager(cmd *cobra.Command) (m *manage.Manager, done func() error, err error) {
	m, done, err = manage.System(cmd.Context(), managed)
	return m, done, advise(err)
}

// managing runs a command that takes no arguments with the system's manager.
func managing(do func(cmd *cobra.Command, m *manage.Manager) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		m, done, err := manager(cmd)
		if err != nil {
			return err
		}
		return errors.Join(advise(do(cmd, m)), done())
	}
}

func newServiceInstall(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "install",
		Short: "Start the service now and whenever the machine starts",
		Long: `Start aditd now and whenever the machine starts. It is the one beside this adit, and
must be where nobody but an administrator can replace it. Where a package or
an administrator's own unit has installed the service, it is that one.`,
		Args: wants(0, 0, ""),
		RunE: managing(func(cmd *cobra.Command, m *manage.Manager) error {
			program, err := beside("aditd", "is the service")
			if err != nil {
				return err
			}
			now, already, err := m.Install(cmd.Context(), program)
			if err != nil {
				return err
			}
			if already {
				a.out.note("the service is installed and runs already")
			}
			if now.Packaged && now.Program != program {
				a.out.note("the service is installed already, by %s: it is %s", now.Unit, now.Program)
			}
			a.out.serviceStatus(now)
			return nil
		}),
	}
}

func newServiceUninstall(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop the service for good, and undo what it did to this machine",
		Long: `Stop aditd, put routes and DNS back, open every guard, and have the system forget the
service. Programs, profiles and settings stay; --purge removes everybody's profiles
and settings, too, also where no service is installed. What a package of Linux has
installed is removed with the package.`,
		Args: wants(0, 0, ""),
	}
	purge := cmd.Flags().Bool("purge", false, "remove all profiles, settings and wishes, of every user")
	cmd.RunE = managing(func(cmd *cobra.Command, m *manage.Manager) error {
		spare, err := beside("aditd", "is the service")
		if err != nil {
			spare = "" // the installed one does it
		}
		before, said, err := m.Uninstall(cmd.Context(), *purge, spare)
		if errors.Is(err, manage.ErrNotInstalled) && !*purge {
			a.out.note("the service is not installed")
			return nil
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(said) {
			a.out.line("%s", strings.TrimSpace(line))
		}
		switch {
		case before.State == manage.NotInstalled:
			a.out.note("the service is not installed")
		case before.Packaged:
			a.out.line("the service is stopped, and does not start with the machine; %s stays", before.Unit)
		default:
			a.out.line("the service is uninstalled")
		}
		return nil
	})
	return cmd
}

func newServiceStart(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "start",
		Short: "Start the service",
		Args:  wants(0, 0, ""),
		RunE: managing(func(cmd *cobra.Command, m *manage.Manager) error {
			now, already, err := m.Start(cmd.Context())
			if err != nil {
				return err
			}
			if already {
				a.out.note("the service runs already")
			}
			a.out.serviceStatus(now)
			return nil
		}),
	}
}

func newServiceStop(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the service until the machine starts again",
		Long: `End all tunnels and stop the service until the machine starts again. What was connected
connects again with the next start. A guard in lockdown stays closed.`,
		Args: wants(0, 0, ""),
		RunE: managing(func(cmd *cobra.Command, m *manage.Manager) error {
			already, err := m.Stop(cmd.Context())
			if err != nil {
				return err
			}
			if already {
				a.out.note("the service does not run")
				return nil
			}
			a.out.line("the service is stopped")
			return nil
		}),
	}
}

func newServiceStatus(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print what the system's service manager says of the service",
		Args:  wants(0, 0, ""),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = managing(func(cmd *cobra.Command, m *manage.Manager) error {
		now, err := m.Status(cmd.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return a.out.json(now)
		}
		a.out.serviceStatus(now)
		return nil
	})
	return cmd
}

// serviceStatus prints what the manager says.
func (p printer) serviceStatus(s manage.Status) {
	if s.State == manage.NotInstalled {
		p.line("the service is not installed; install it with: adit service install")
		return
	}
	p.line("the service is %s, by %s", s.State, s.Manager)
	p.line("  program  %s", s.Program)
	if s.PID != 0 {
		p.line("  process  %d", s.PID)
	}
	if s.Result != "" {
		p.line("  result   %s", s.Result)
	}
	if !s.Automatic {
		p.line("  it does not start with the machine; adit service install changes that")
	}
	if s.Packaged {
		p.line("  installed by %s, not by adit service install", s.Unit)
	}
}

// advise adds what helps.
func advise(err error) error {
	switch {
	case errors.Is(err, manage.ErrRights) && runtime.GOOS == "windows":
		return hinted(err, "run it in a terminal that was opened with: Run as administrator")
	case errors.Is(err, manage.ErrRights):
		return hinted(err, "run it with sudo")
	case errors.Is(err, manage.ErrNotInstalled):
		return hinted(err, "install it with: adit service install")
	case errors.Is(err, manage.ErrGone):
		return hinted(err, "put aditd beside this adit, or install its package again")
	case errors.Is(err, manage.ErrNoManager):
		return hinted(err, "have your system's init run aditd as root, in the foreground; SIGTERM ends it in order", "undo what a crashed one left behind with: aditd cleanup")
	case errors.Is(err, manage.ErrUntrusted), errors.Is(err, manage.ErrPlace):
		return hinted(err, "put adit and aditd where only an administrator can write, such as "+safePlace+", and run adit service install there")
	}
	return err
}
