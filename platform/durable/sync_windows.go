package durable

// SyncDir does nothing: NTFS journals renames, and directories cannot be flushed.
func SyncDir(string) error { return nil }
