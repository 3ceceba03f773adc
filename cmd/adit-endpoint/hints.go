package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/endpoint/pki"
)

// hints says what to type after err, most specific first.
func hints(err error) []string {
	var usage *usageError
	var cert *pki.Error
	var config endpoint.ConfigErrors
	var listen *endpoint.ListenError
	var unread *endpoint.ConfigError
	var file *fs.PathError
	switch {
	case errors.As(err, &file) && (file.Path == os.Stdout.Name() || file.Path == os.Stderr.Name()):
		return nil // where the words go is not a matter of ours
	case errors.As(err, &usage):
		if usage.hint == "" {
			return nil
		}
		return []string{usage.hint}
	case errors.As(err, &config):
		if len(config) > 1 {
			return []string{"all mistakes: adit-endpoint check " + config[0].File}
		}
		return []string{"correct the file, then test it: adit-endpoint check " + config[0].File}
	case errors.As(err, &listen) && errors.Is(err, syscall.EADDRINUSE):
		return []string{"another program uses this port; stop it, or choose one: adit-endpoint up --listen 127.0.0.1:11940"}
	case errors.As(err, &listen) && errors.Is(err, syscall.EADDRNOTAVAIL):
		return []string{"this machine does not have the address; choose one that it has, or 0.0.0.0 for all"}
	case errors.As(err, &listen) && errors.Is(err, fs.ErrPermission):
		return []string{"ports below 1024 need root; choose a higher one with --listen"}
	case errors.Is(err, endpoint.ErrRunning):
		return []string{"see its clients: adit-endpoint connections; if it does not answer, it is about to end: try again; or give this one a directory of its own: --data DIR"}
	case errors.Is(err, endpoint.ErrNotRunning):
		return []string{"start it: adit-endpoint up; or name its directory: --data DIR"}
	case errors.Is(err, endpoint.ErrServerUse):
		return []string{"revoke it; the next start makes one: adit-endpoint pki revoke " + endpoint.ServerName}
	case errors.Is(err, endpoint.ErrServerCertificate):
		return []string{"renew it: adit-endpoint pki renew " + endpoint.ServerName}
	case errors.Is(err, network.ErrUnsupported):
		return []string{"--network userspace needs no rights and works everywhere"}
	case errors.As(err, &cert) && cert.Hint != "":
		return []string{cert.Hint}
	case errors.Is(err, fs.ErrPermission):
		return []string{"run it as the owner of the file, or choose another directory with --data DIR"}
	case errors.As(err, &unread):
		return []string{"give a configuration file; a data directory goes to --data DIR"}
	case errors.Is(err, syscall.ENOTDIR):
		return []string{"a file is in the way; choose another directory with --data DIR"}
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOSPC):
		return []string{"choose a directory with room where files can be written: --data DIR"}
	case errors.Is(err, syscall.EADDRINUSE):
		return []string{"another program uses this port; stop it, or choose another one"}
	case errors.Is(err, fs.ErrNotExist):
		return []string{"check the name; what belongs to the data directory adit-endpoint up makes"}
	}
	return nil
}
