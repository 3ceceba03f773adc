package trusted

import "os"

// open trusts nothing yet: access lists are not read.
func open(path string) (*os.File, error) {
	return nil, refused(path, "who can write it is not known on this system")
}
