package migrate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/adit-vpn/adit/ovpn/profile"
)

// System is the machine as a person sees it: which system it is, its files, and where programs keep what. Its paths are
// written as the system does.
type System struct {
	OS string // as runtime.GOOS says
	// Files is the whole file system. Names in it are absolute paths with slashes and without the first one: "home/ann",
	// "C:/Users/ann"; "UNC/server/share/ann" is Windows' \\server\share\ann.
	Files fs.FS

	Home         string
	AppData      string // of Windows, like the next one
	ProgramFiles string
}

// Here is the machine that this process runs on. An unknown folder is empty.
func Here() System {
	home, _ := os.UserHomeDir()
	s := System{OS: runtime.GOOS, Files: disk{}, Home: home}
	if s.OS == "windows" {
		s.AppData, s.ProgramFiles = os.Getenv("APPDATA"), os.Getenv("ProgramFiles")
	}
	return s
}

// disk is the real file system as System.Files.
type disk struct{}

func (disk) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return os.Open(native(runtime.GOOS, name))
}

// Stat follows links, and does not open: a pipe would block.
func (disk) Stat(name string) (fs.FileInfo, error) { return os.Stat(native(runtime.GOOS, name)) }

func (disk) ReadDir(name string) ([]fs.DirEntry, error) {
	return os.ReadDir(native(runtime.GOOS, name))
}

const unc = "UNC/" // as in System.Files

// native writes a name of System.Files as the system does.
func native(goos, name string) string {
	if goos != "windows" {
		return "/" + strings.TrimPrefix(name, ".")
	}
	if rest, ok := strings.CutPrefix(name, unc); ok {
		name = "//" + rest
	}
	if strings.HasSuffix(name, ":") {
		name += "/"
	}
	return strings.ReplaceAll(name, "/", `\`)
}

func (s System) native(name string) string { return native(s.OS, name) }

// name is the opposite of native, for an absolute path.
func (s System) name(file string) string {
	if s.OS == "windows" {
		file = strings.TrimPrefix(strings.ReplaceAll(file, `\`, "/"), "//?/")
		if rest, ok := strings.CutPrefix(file, "//"); ok {
			file = unc + rest
		}
	}
	return path.Clean(strings.TrimPrefix(path.Clean("/"+file), "/"))
}

// absolute says whether a path means the same from every folder.
func (s System) absolute(file string) bool {
	if s.OS != "windows" {
		return strings.HasPrefix(file, "/")
	}
	file = strings.ReplaceAll(file, `\`, "/")
	return strings.HasPrefix(file, "//") || len(file) > 2 && file[1] == ':' && file[2] == '/'
}

// in is a path below a folder of the system; "" if there is no such folder.
func (s System) in(folder string, elements ...string) string {
	if folder == "" {
		return ""
	}
	return path.Join(append([]string{s.name(folder)}, elements...)...)
}

// read reads a plain file whole.
func (s System) read(name string) ([]byte, error) {
	info, err := fs.Stat(s.Files, name)
	switch {
	case err != nil:
		return nil, reason(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("not a plain file")
	}
	f, err := s.Files.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, reason(err)
	case len(b) > maxFile:
		return nil, fmt.Errorf("larger than %d MiB", maxFile>>20)
	}
	return b, nil
}

// beside reads what a profile in dir refers to. A path from Windows (keys\ca.crt) is tried with slashes, too.
func (s System) beside(dir string) profile.Files {
	return func(file string) ([]byte, error) {
		at := func(file string) string {
			if s.absolute(file) {
				return s.name(file)
			}
			return path.Join(dir, filepath.ToSlash(file))
		}
		b, err := s.read(at(file))
		if errors.Is(err, fs.ErrNotExist) && strings.Contains(file, `\`) {
			if b, e := s.read(at(strings.ReplaceAll(file, `\`, "/"))); e == nil {
				return b, nil
			}
		}
		return b, err
	}
}
