package trusted

// extended has nothing to say: an access list that lets others write shows in the group's bits (acl(5)).
func extended(int) (fault string, err error) { return "", nil }
